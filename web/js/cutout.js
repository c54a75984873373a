/** Composes a video that is colour at the left and matte at the right, so that what lies below shows through. */
import { useShader } from "./shader.js";

const VERTEX = `
attribute vec2 corner;
varying vec2 place;
void main() { place = corner * 0.5 + 0.5; gl_Position = vec4(corner, 0.0, 1.0); }`;

/* The halves must not bleed into each other; the ends of the matte are drawn out, because compression frays them. */
const FRAGMENT = `
precision mediump float;
uniform sampler2D both;
uniform float inset;
varying vec2 place;
void main() {
  vec2 left = vec2(clamp(place.x * 0.5, inset, 0.5 - inset), place.y);
  float alpha = clamp((texture2D(both, left + vec2(0.5, 0.0)).g - 0.05) / 0.9, 0.0, 1.0);
  gl_FragColor = vec4(texture2D(both, left).rgb * alpha, alpha);
}`;

export class Cutout {
  #video;
  #host;
  #painter = null;
  #run = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {HTMLElement} host the canvas is put into it
   */
  constructor(video, host) {
    this.#video = video;
    this.#host = host;
  }

  /** @returns {HTMLCanvasElement | null} what is shown; null while the video is shown as it is */
  get canvas() {
    return this.#run ? this.#painter.canvas : null;
  }

  start() {
    if (this.#run) return;
    this.#painter ??= this.#newPainter();
    this.#host.hidden = false;
    this.#tick(this.#run = Date.now());
  }

  stop() {
    this.#run = 0;
    this.#host.hidden = true;
  }

  #newPainter() {
    const painter = WithShader.possible() ?? new WithPixels();
    this.#host.replaceChildren(painter.canvas);
    // A graphics driver that was restarted took the picture with it: begin with a new canvas.
    painter.canvas.addEventListener("webglcontextlost", () => { this.#painter = this.#newPainter(); }, { once: true });
    return painter;
  }

  /** With every picture as it is presented, so that lips stay with the voice. */
  #tick(run) {
    if (run !== this.#run) return;
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (this.#video.readyState >= 2 && width > 0) this.#painter.paint(this.#video, width / 2, height);
    const again = () => this.#tick(run);
    if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(again);
    else requestAnimationFrame(again);
  }
}

/** In the graphics processor: the browser converts the video's colours, and nothing is read back. */
class WithShader {
  #gl;
  #inset;

  /** @returns {WithShader | null} null where there is no WebGL */
  static possible() {
    const canvas = document.createElement("canvas");
    const gl = canvas.getContext("webgl", { alpha: true, antialias: false, depth: false, preserveDrawingBuffer: true });
    return gl ? new WithShader(canvas, gl) : null;
  }

  constructor(canvas, gl) {
    this.canvas = canvas;
    this.#gl = gl;
    const program = useShader(gl, VERTEX, FRAGMENT);
    this.#inset = gl.getUniformLocation(program, "inset");
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const [name, value] of [["WRAP_S", "CLAMP_TO_EDGE"], ["WRAP_T", "CLAMP_TO_EDGE"], ["MIN_FILTER", "LINEAR"], ["MAG_FILTER", "LINEAR"]]) {
      gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${name}`], gl[value]);
    }
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
  }

  paint(video, width, height) {
    const gl = this.#gl;
    resize(this.canvas, width, height);
    gl.viewport(0, 0, width, height);
    gl.uniform1f(this.#inset, 0.75 / width);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, video);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }
}

/** Without WebGL: pixel by pixel. */
class WithPixels {
  canvas = document.createElement("canvas");
  #whole = document.createElement("canvas");

  paint(video, width, height) {
    resize(this.canvas, width, height);
    resize(this.#whole, 2 * width, height);
    const whole = this.#whole.getContext("2d", { willReadFrequently: true });
    whole.drawImage(video, 0, 0);
    const colour = whole.getImageData(0, 0, width, height);
    const matte = whole.getImageData(width, 0, width, height).data;
    for (let at = 3; at < matte.length; at += 4) colour.data[at] = (matte[at - 2] - 13) * 1.11; // clamped by the array
    this.canvas.getContext("2d").putImageData(colour, 0, 0);
  }
}

function resize(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}
