/** Where the user says which way sound and picture are to take: on the first screen, and in the conversation's menu. */

export class TransportChoice {
  /**
   * @param {HTMLSelectElement} select on the first screen
   * @param {HTMLInputElement} without a switch: no WebRTC
   * @param {import("./transport.js").Transport} transport
   * @param {() => void} onSwitch the conversation that there is should go the other way
   */
  constructor(select, without, transport, onSwitch) {
    const write = () => {
      select.value = transport.choice;
      without.checked = transport.mode === "websocket";
    };
    select.addEventListener("change", () => transport.choose(select.value));
    without.addEventListener("change", () => {
      if (without.checked) transport.choose("websocket");
      else transport.retry();
      onSwitch();
    });
    transport.addEventListener("changed", write);
    write();
    // Who chose something, or followed a link that did, sees it.
    select.closest("details").open = transport.choice !== "auto";
  }
}
