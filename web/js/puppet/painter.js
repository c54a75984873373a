/**
 * Puts a portrait, in a mood a face on it, two or three mouths and two pairs of eyelids together, and bends the whole a little
 * where the head is. A mood that goes over into another is drawn on it, and can be seen through.
 */
import { useShader } from "../shader.js";

const VERTEX = `
attribute vec2 corner;
varying vec2 place;
void main() { place = vec2(corner.x, -corner.y) * 0.5 + 0.5; gl_Position = vec4(corner, 0.0, 1.0); }`;

/*
 * Places are parts of the portrait, from its top left corner. The head's shift fades out around it, so that neither
 * shoulders nor what is behind them move; the face turns a little more than the head does.
 */
const FRAGMENT = `
precision highp float;
varying vec2 place;
uniform sampler2D portrait;
uniform sampler2D pieces;
uniform vec2 size;
uniform vec4 faceBox;
uniform vec2 faceFrom;
uniform vec4 mouthBox;
uniform vec2 mouthFrom[3];
uniform vec3 mouthShare;
uniform vec4 eyesBox;
uniform vec2 eyesFrom[2];
uniform float eyesShare;
uniform vec2 piecesSize;
uniform vec2 centre;
uniform vec2 radius;
uniform vec4 shift;
uniform vec3 turn;

vec2 bent(vec2 at) {
  vec2 off = (at - centre) / radius;
  float head = 1.0 - smoothstep(0.75, 2.1, length(off * vec2(1.0, off.y > 0.0 ? 0.82 : 1.0)));
  float face = exp(-dot(off, off) * 1.1);
  float body = smoothstep(0.9, 2.2, off.y);
  vec2 arm = at - (centre + vec2(0.0, 1.5 * radius.y));
  vec2 moved = head * (shift.xy + shift.z * vec2(-arm.y, arm.x) + shift.w * arm);
  return at - moved - face * turn.xy - vec2(0.0, turn.z * (0.35 * head + body));
}

/* How much of a piece counts at a place: all inside, less towards its edge. */
float within(vec2 at, vec4 box) {
  vec2 pixel = (at - box.xy) * size;
  vec2 rest = box.zw * size - pixel;
  vec2 edge = clamp(min(pixel, rest) / 5.0, 0.0, 1.0);
  return edge.x * edge.y;
}

vec4 piece(vec2 at, vec4 box, vec2 from) {
  return texture2D(pieces, from + clamp((at - box.xy) * size, vec2(0.5), box.zw * size - 0.5) / piecesSize);
}

/* A piece takes the portrait's place; where it can be seen through, the portrait's own background is behind it. */
vec4 laid(vec4 below, vec4 over, float share) {
  return mix(below, over + below * (1.0 - over.a) * step(0.999, below.a), share);
}

void main() {
  vec2 at = bent(place);
  vec4 colour = texture2D(portrait, at);
  float share = within(at, faceBox);
  if (share > 0.0) colour = laid(colour, piece(at, faceBox, faceFrom), share);
  share = within(at, mouthBox);
  if (share > 0.0) {
    vec4 mouth = mouthShare.x * piece(at, mouthBox, mouthFrom[0]);
    if (mouthShare.y > 0.0) mouth += mouthShare.y * piece(at, mouthBox, mouthFrom[1]);
    if (mouthShare.z > 0.0) mouth += mouthShare.z * piece(at, mouthBox, mouthFrom[2]);
    colour = laid(colour, mouth, share);
  }
  share = within(at, eyesBox);
  if (share > 0.0) colour = laid(colour, mix(piece(at, eyesBox, eyesFrom[0]), piece(at, eyesBox, eyesFrom[1]), eyesShare), share);
  gl_FragColor = colour;
}`;

/** In the graphics processor. */
export class ShaderPainter {
  #gl;
  #program;
  #places = {};
  #portrait = null;
  /** Textures of pieces, by their atlas. */
  #pieces = new Map();
  #size = [1, 1];

  /** @returns {ShaderPainter | null} null where there is no WebGL */
  static possible(canvas) {
    const gl = canvas.getContext("webgl", { alpha: true, premultipliedAlpha: true, antialias: false, depth: false, preserveDrawingBuffer: true });
    return gl ? new ShaderPainter(gl) : null;
  }

  constructor(gl) {
    this.#gl = gl;
    const program = this.#program = useShader(gl, VERTEX, FRAGMENT);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "no shader");
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
    gl.blendFunc(gl.CONSTANT_ALPHA, gl.ONE_MINUS_CONSTANT_ALPHA);
  }

  /** Another face from now on. @param {HTMLImageElement} portrait @param {import("./atlas.js").Atlas | null} atlas null: only the portrait */
  show(portrait, atlas) {
    const gl = this.#gl;
    for (const texture of [this.#portrait, ...this.#pieces.values()]) gl.deleteTexture(texture);
    this.#pieces.clear();
    this.#portrait = this.#texture(portrait, 0);
    gl.canvas.width = portrait.naturalWidth;
    gl.canvas.height = portrait.naturalHeight;
    gl.viewport(0, 0, gl.canvas.width, gl.canvas.height);
    this.#size = atlas?.size ?? [portrait.naturalWidth, portrait.naturalHeight];
    this.#set("1i", "portrait", 0);
    this.#set("1i", "pieces", 0);
    this.#set("2f", "size", ...this.#size);
    for (const name of ["faceBox", "mouthBox", "eyesBox"]) this.#set("4f", name, ...scaled(null, this.#size));
    const { centre, radius } = headOf(atlas, this.#size);
    this.#set("2f", "centre", ...centre);
    this.#set("2f", "radius", ...radius);
  }

  /**
   * @param {{atlas: import("./atlas.js").Atlas, mouths: [number, number][], share: number}[]} layers one on the other, each
   *        with up to three numbers of mouths and their shares, which sum to 1; none: only the portrait
   * @param {number} shut of the eyelids, 0 to 1
   * @param {object} pose see `Sway`
   */
  paint(layers, shut, pose) {
    const gl = this.#gl;
    this.#set("4f", "shift", pose.x, pose.y, pose.roll, pose.zoom);
    this.#set("3f", "turn", pose.yaw, pose.pitch, -pose.breath);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.disable(gl.BLEND);
    if (layers.length === 0) gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    for (const { atlas, mouths, share } of layers) {
      this.#setPieces(atlas, mouths, shut);
      gl.blendColor(0, 0, 0, share);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
      gl.enable(gl.BLEND);
    }
  }

  #setPieces(atlas, mouths, shut) {
    const { face, mouth, eyes, picture } = atlas;
    this.#bind(atlas);
    this.#set("2f", "piecesSize", picture.naturalWidth, picture.naturalHeight);
    this.#set("4f", "faceBox", ...scaled(face?.box, this.#size));
    this.#set("4f", "mouthBox", ...scaled(mouth.box, this.#size));
    this.#set("4f", "eyesBox", ...scaled(eyes?.box, this.#size));
    const corner = ([x, y]) => [x / picture.naturalWidth, y / picture.naturalHeight];
    const three = [0, 1, 2].map((index) => mouths[index] ?? [mouths[0][0], 0]);
    this.#set("2fv", "mouthFrom[0]", three.flatMap(([number]) => corner(mouth.tiles[number].from)));
    this.#set("3f", "mouthShare", ...three.map(([, share]) => share));
    if (face) this.#set("2f", "faceFrom", ...corner(face.from));
    if (!eyes) return;
    const { lower, upper, share } = lidsAt(eyes, shut);
    this.#set("2fv", "eyesFrom[0]", [...corner(lower.from), ...corner(upper.from)]);
    this.#set("1f", "eyesShare", share);
  }

  /** Have its pieces at hand; they stay there for the next time. */
  #bind(atlas) {
    const gl = this.#gl;
    this.#set("1i", "pieces", 1);
    gl.activeTexture(gl.TEXTURE1);
    if (this.#pieces.has(atlas)) gl.bindTexture(gl.TEXTURE_2D, this.#pieces.get(atlas));
    else this.#pieces.set(atlas, this.#texture(atlas.picture, 1));
  }

  #texture(image, unit) {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const [name, value] of [["WRAP_S", "CLAMP_TO_EDGE"], ["WRAP_T", "CLAMP_TO_EDGE"], ["MIN_FILTER", "LINEAR"], ["MAG_FILTER", "LINEAR"]]) {
      gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${name}`], gl[value]);
    }
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    return texture;
  }

  #set(kind, name, ...values) {
    this.#places[name] ??= this.#gl.getUniformLocation(this.#program, name);
    this.#gl[`uniform${kind}`](this.#places[name], ...values);
  }
}

/** Without WebGL: the same without bending. */
export class PlainPainter {
  #canvas;
  #brush;
  #portrait = null;
  /** Where a layer is put together that is to be seen through. */
  #scratch = document.createElement("canvas").getContext("2d");

  constructor(canvas) {
    this.#canvas = canvas;
    this.#brush = canvas.getContext("2d");
  }

  show(portrait) {
    this.#portrait = portrait;
    for (const canvas of [this.#canvas, this.#scratch.canvas]) {
      canvas.width = portrait.naturalWidth;
      canvas.height = portrait.naturalHeight;
    }
  }

  paint(layers, shut) {
    const brush = this.#brush;
    this.#compose(brush, layers[0], shut);
    for (const layer of layers.slice(1)) {
      this.#compose(this.#scratch, layer, shut);
      brush.globalAlpha = layer.share;
      brush.drawImage(this.#scratch.canvas, 0, 0);
    }
  }

  #compose(brush, layer, shut) {
    brush.globalAlpha = 1;
    brush.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    brush.drawImage(this.#portrait, 0, 0);
    if (!layer) return;
    const { face, mouth, eyes, picture } = layer.atlas;
    const lay = ([x, y, width, height], [left, top], share) => {
      brush.globalAlpha = share;
      brush.drawImage(picture, left, top, width, height, x, y, width, height);
    };
    if (face) lay(face.box, face.from, 1);
    layer.mouths.forEach(([number, share], index) => lay(mouth.box, mouth.tiles[number].from, index === 0 ? 1 : share));
    if (!eyes || (shut === 0 && !face)) return;
    const { lower, upper, share } = lidsAt(eyes, shut);
    lay(eyes.box, lower.from, 1);
    lay(eyes.box, upper.from, share);
  }
}

/** The two lids between which `shut` lies, and how far the second one counts. */
function lidsAt({ tiles }, shut) {
  const above = Math.max(1, tiles.findIndex((tile) => tile.shut >= shut));
  const [lower, upper] = [tiles[above - 1], tiles[above]];
  return { lower, upper, share: (shut - lower.shut) / (upper.shut - lower.shut) };
}

function scaled(box, [width, height]) {
  return box ? [box[0] / width, box[1] / height, box[2] / width, box[3] / height] : [2, 2, 0, 0];
}

/** Where the head is, from where eyes and mouth are. */
function headOf(atlas, [width, height]) {
  const [x, y, wide, tall] = atlas?.eyes?.box ?? atlas?.mouth.box ?? [width * 0.35, height * 0.38, width * 0.3, height * 0.08];
  return { centre: [(x + wide / 2) / width, (y + tall / 2 + 0.25 * wide) / height], radius: [(0.95 * wide) / width, (1.2 * wide) / height] };
}
