// Reads a binary glTF file, given as base64, and draws it: what the specification says, no more.
async text => {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0)), view = new DataView(bytes.buffer);
  const length = view.getUint32(12, true), start = 20 + length + 8;
  const gltf = JSON.parse(new TextDecoder().decode(bytes.subarray(20, 20 + length)));
  const slice = i => {
    const { byteOffset, byteLength } = gltf.bufferViews[i];
    return bytes.slice(start + byteOffset, start + byteOffset + byteLength);
  };
  const accessor = i => new ({ 5126: Float32Array, 5125: Uint32Array })[gltf.accessors[i].componentType](
    slice(gltf.accessors[i].bufferView).buffer);
  const { attributes, indices } = gltf.meshes[0].primitives[0];
  const position = accessor(attributes.POSITION);
  const low = [Infinity, Infinity, Infinity], high = low.map(x => -x);
  position.forEach((x, i) => {
    low[i % 3] = Math.min(low[i % 3], x);
    high[i % 3] = Math.max(high[i % 3], x);
  });
  const images = await Promise.all(gltf.images.map(image =>
    createImageBitmap(new Blob([slice(image.bufferView)], { type: image.mimeType }))));

  // drawn from the front, 200 mm high, with nothing but its colour
  const gl = new OffscreenCanvas(200, 200).getContext("webgl2"), program = gl.createProgram();
  for (const [kind, code] of [
    [gl.VERTEX_SHADER, `in vec3 p; in vec2 t; out vec2 uv;
      void main() { uv = t; gl_Position = vec4(p * vec3(10, 10, -10), 1); }`],
    [gl.FRAGMENT_SHADER, `precision highp float; uniform sampler2D s; in vec2 uv; out vec4 c;
      void main() { c = texture(s, uv); }`],
  ]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, "#version 300 es\n" + code);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  for (const [name, values, width] of [["p", position, 3], ["t", accessor(attributes.TEXCOORD_0), 2]]) {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(gl.getAttribLocation(program, name));
    gl.vertexAttribPointer(gl.getAttribLocation(program, name), width, gl.FLOAT, false, 0, 0);
  }
  const triangles = accessor(indices);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles, gl.STATIC_DRAW);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, images[0]);
  gl.generateMipmap(gl.TEXTURE_2D);
  gl.enable(gl.DEPTH_TEST);
  gl.enable(gl.CULL_FACE);
  gl.drawElements(gl.TRIANGLES, triangles.length, gl.UNSIGNED_INT, 0);
  const pixels = new Uint8Array(4 * 200 * 200);
  gl.readPixels(0, 0, 200, 200, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  return {
    size: high.map((x, k) => x - low[k]),
    images: images.map(image => [image.width, image.height]),
    error: gl.getError(),
    pixels: Array.from(pixels),
  };
}
