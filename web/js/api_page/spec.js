/** The server's OpenAPI document: loading it, following its references. */

let document_ = null;

/** Load the document once. Rejects when the server has none. */
export async function loadSpec() {
  const response = await fetch(new URL("./api/openapi.json", document.baseURI), { cache: "no-store" });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  document_ = await response.json();
  return document_;
}

/** A schema with its reference followed; what stands beside the reference wins. */
export function resolved(schema) {
  if (!schema?.$ref) return schema ?? {};
  const target = schema.$ref.slice(2).split("/").reduce((value, part) => value[part], document_);
  return { ...resolved(target), ...schema, $ref: undefined };
}

/**
 * @typedef {{id: string, method: string, path: string, tag: string, summary: string, description: string, fields: object[],
 *   kind: string, security: string[], examples: object[] | null, streams: boolean}} Operation
 * @returns {Operation[]} in the order of the document; `examples` only for sockets, `kind` is the body's content type or ""
 */
export function operationsOf(spec) {
  const found = [];
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(item)) found.push(describe(path, method, operation));
  }
  const order = spec.tags.map(({ name }) => name);
  return found.sort((a, b) => order.indexOf(a.tag) - order.indexOf(b.tag));
}

function describe(path, method, operation) {
  const [kind, media] = Object.entries(operation.requestBody?.content ?? {})[0] ?? ["", null];
  const answers = operation.responses["200"]?.content ?? {};
  return {
    id: operation.operationId,
    method: method.toUpperCase(),
    path,
    tag: operation.tags[0],
    summary: operation.summary,
    description: operation.description ?? "",
    fields: [...(operation.parameters ?? []).map(parameterField), ...bodyFields(media)],
    kind,
    security: operation.security.flatMap((option) => Object.keys(option)),
    examples: operation["x-websocket"] ?? null,
    streams: "text/event-stream" in answers,
  };
}

function parameterField({ name, in: place, required, schema, description }) {
  const full = resolved(schema);
  return { name, required, place, schema: full, description: description ?? full.description ?? "", example: undefined };
}

function bodyFields(media) {
  if (!media) return [];
  const schema = resolved(media.schema);
  return Object.entries(schema.properties).map(([name, property]) => {
    const full = resolved(property);
    const required = schema.required?.includes(name) ?? false;
    return { name, required, place: "body", schema: full, description: full.description ?? "", example: media.example?.[name] };
  });
}
