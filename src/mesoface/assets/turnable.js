// The turnable face of report.html: WebGL 2, no library, no request. The page holds one
// <script type="application/json"> with the surfaces and pictures that rendering/turnable.py packed.
"use strict";

const FIELD_OF_VIEW = 14 * Math.PI / 180; // a long portrait lens, as in the report's pictures
const STRIDE = 20; // bytes a vertex: position 4 × uint16, normal 4 × int16, UV 2 × uint16

const VERTEX = `#version 300 es
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 uv;
uniform vec3 origin, extent, shift; uniform mat3 turn; uniform vec4 lens;
out vec3 vNormal, vView; out vec2 vUv;
void main() {
  vView = turn * (origin + position * extent) - shift;
  vNormal = normal;
  vUv = uv;
  gl_Position = vec4(lens.xy * vView.xy, lens.z * vView.z + lens.w, -vView.z);
}`;

// The lights are those of rendering.py, turned from OpenCV's axes into OpenGL's: they stay with the camera.
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 vNormal, vView; in vec2 vUv;
uniform mat3 turn; uniform sampler2D relief, picture; uniform float strength; uniform int mode;
out vec4 color;
float lamp(vec3 n, vec3 view, vec3 towards, float power) {
  towards = normalize(towards);
  float matt = max((dot(n, towards) + 0.15) / 1.15, 0.0);
  float sheen = pow(max(dot(n, normalize(towards - view)), 0.0), 24.0);
  return power * (matt + 0.14 * sheen);
}
void main() {
  vec3 n = normalize(vNormal);
  if (strength >= 0.0) {
    vec4 texel = texture(relief, vUv);
    if (texel.a < 0.5) discard;
    vec3 fine = normalize(texel.rgb * 2.0 - 1.0);
    // the slope against the smooth surface, made steeper or flatter: 1 is as measured
    n = normalize(n + strength * (fine / max(dot(fine, n), 0.2) - n));
  }
  n = turn * n;
  vec3 view = normalize(vView);
  if (!gl_FrontFacing) n = -n;
  float light = 0.08 + lamp(n, view, vec3(-0.70, 0.65, 0.60), 0.74)
    + lamp(n, view, vec3(0.85, -0.05, 0.55), 0.20) + lamp(n, view, vec3(0.45, 0.70, -0.45), 0.30);
  light = pow(light, 0.8);
  vec3 rgb;
  if (mode == 0) rgb = vec3(0.87, 0.82, 0.77) * light;
  else if (mode == 1) rgb = n * 0.5 + 0.5;
  else rgb = texture(picture, vUv).rgb * (mode == 2 ? 1.0 : 0.55 + 0.45 * light);
  color = vec4(clamp(rgb * (gl_FrontFacing ? 1.0 : 0.45), 0.0, 1.0), 1.0);
}`;

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}

function upload(gl, surface) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, bytes(surface.vertices), gl.STATIC_DRAW);
  [[3, gl.UNSIGNED_SHORT, 0], [3, gl.SHORT, 8], [2, gl.UNSIGNED_SHORT, 16]].forEach(([size, type, at], i) => {
    gl.enableVertexAttribArray(i);
    gl.vertexAttribPointer(i, size, type, true, STRIDE, at);
  });
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, bytes(surface.faces), gl.STATIC_DRAW);
  return { ...surface, array };
}

// As stored: no premultiplied alpha, no colour management. Normals are not colours.
async function texture(gl, picture) {
  const blob = new Blob([bytes(picture.data)], { type: picture.type });
  const image = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, image);
  gl.generateMipmap(gl.TEXTURE_2D);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
  return made;
}

// Column by column, as GLSL wants it: yaw about the up of the face, then pitch about the right of the screen.
function turned(yaw, pitch) {
  const [a, b, c, d] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return [a, b * d, -b * c, 0, c, d, b, -a * d, a * c];
}

async function show(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const canvas = root.querySelector("canvas");
  const gl = canvas.getContext("webgl2", { alpha: true, antialias: true });
  if (!gl) throw new Error("no WebGL 2");
  const draw = program(gl);
  const at = (name) => gl.getUniformLocation(draw, name);
  const surfaces = data.surfaces.map((surface) => upload(gl, surface));
  const textures = {};
  for (const [name, picture] of Object.entries(data.pictures)) textures[name] = await texture(gl, picture);

  const home = { yaw: 0, pitch: 0, x: 0, y: 0,
    distance: 1.1 * data.radius / Math.tan(FIELD_OF_VIEW / 2) + data.radius / 2 };
  const camera = { ...home };
  const chosen = { surface: surfaces[0], shading: data.shadings[0], strength: 1 };

  function render() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const { surface, shading } = chosen;
    const turn = turned(camera.yaw, camera.pitch);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(draw);
    const scale = 1 / Math.tan(FIELD_OF_VIEW / 2);
    const [near, far] = [Math.max(camera.distance - 3 * data.radius, 1), camera.distance + 3 * data.radius];
    const narrow = Math.min(1, width / height);
    gl.uniform4f(at("lens"), scale * narrow * height / width, scale * narrow, (near + far) / (near - far),
      2 * near * far / (near - far));
    gl.uniform3fv(at("origin"), surface.origin);
    gl.uniform3fv(at("extent"), surface.extent);
    gl.uniform3f(at("shift"), camera.x, camera.y, camera.distance);
    gl.uniformMatrix3fv(at("turn"), false, turn);
    gl.uniform1f(at("strength"), surface.relief ? chosen.strength : -1);
    gl.uniform1i(at("mode"), shading.mode);
    [["relief", surface.relief], ["picture", shading.picture]].forEach(([name, picture], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, textures[picture] || null);
      gl.uniform1i(at(name), unit);
    });
    gl.bindVertexArray(surface.array);
    gl.drawElements(gl.TRIANGLES, surface.corners, surface.wide ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT, 0);
    root.dataset.shown = `${surface.name} ${shading.name}`; // what tests wait for
  }

  let asked = false;
  function redraw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; render(); });
  }

  function choose() {
    for (const input of root.querySelectorAll("input:checked")) {
      const list = input.name === "surface" ? surfaces : data.shadings;
      chosen[input.name] = list.find((item) => item.name === input.value);
    }
    // a picture lies in the UVs of some surfaces only
    for (const input of root.querySelectorAll('input[name="shading"]')) {
      input.disabled = !chosen.surface.shadings.includes(input.value);
      if (input.disabled && input.checked) {
        root.querySelector('input[name="shading"]').checked = true;
        return choose();
      }
    }
    const slider = root.querySelector('input[type="range"]');
    chosen.strength = Number(slider.value);
    slider.disabled = !chosen.surface.relief || chosen.shading.mode === 2;
    root.querySelector("output").textContent = `× ${chosen.strength.toFixed(1)}`;
    for (const legend of root.querySelectorAll("[data-legend]")) {
      legend.hidden = legend.dataset.legend !== chosen.shading.name;
    }
    redraw();
  }

  steer(canvas, camera, home, redraw);
  root.addEventListener("input", choose);
  new ResizeObserver(redraw).observe(canvas);
  root.querySelector(".turnable-controls").hidden = false;
  choose();
}

// One finger or the mouse turns; two fingers, the right button or shift move and zoom; keys do the same.
function steer(canvas, camera, home, redraw) {
  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  const zoom = (factor) => {
    camera.distance = Math.min(Math.max(camera.distance * factor, home.distance / 12), home.distance * 3);
  };
  const turn = (yaw, pitch) => {
    camera.yaw += yaw;
    camera.pitch = Math.min(Math.max(camera.pitch + pitch, -1.5), 1.5);
  };
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
    const before = fingers.size === 2 ? spread() : 0;
    Object.assign(finger, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2 || event.shiftKey || event.buttons & 6) {
      const mm = 2 * camera.distance * Math.tan(FIELD_OF_VIEW / 2) / canvas.clientHeight / fingers.size;
      camera.x -= dx * mm;
      camera.y += dy * mm;
      if (before) zoom(before / Math.max(spread(), 1));
    } else {
      turn(dx * 0.008, dy * 0.008);
    }
    redraw();
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas) return; // until it was clicked the page scrolls
    event.preventDefault();
    zoom(Math.exp(Math.sign(event.deltaY) * 0.12));
    redraw();
  }, { passive: false });
  const reset = () => Object.assign(camera, home);
  const keys = {
    ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, -0.1),
    ArrowDown: () => turn(0, 0.1), "+": () => zoom(0.9), "-": () => zoom(1.1), 0: reset,
  };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
    redraw();
  });
  canvas.addEventListener("dblclick", () => { reset(); redraw(); });
}

for (const root of document.querySelectorAll(".turnable")) {
  const failed = (error) => {
    root.classList.add("failed");
    root.querySelector(".turnable-note").textContent =
      `This browser cannot show the face in 3D (${error.message}); the pictures below show it.`;
  };
  root.querySelector("canvas").addEventListener("webglcontextlost", () => failed(new Error("WebGL was lost")));
  show(root).catch(failed);
}
