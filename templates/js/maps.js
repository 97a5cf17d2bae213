// Activation maps: small grids, upsampled and scaled as the score was computed.
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

// Bilinear with pixel centres aligned, borders repeated (align_corners=False).
function upsample(grid, rows, cols, width, height) {
  const out = new Float32Array(width * height);
  const place = (i, n, size) => {
    const at = Math.max(0, ((i + 0.5) * n) / size - 0.5);
    const low = Math.min(Math.floor(at), n - 1);
    return [low, Math.min(low + 1, n - 1), at - low];
  };
  const across = Array.from({ length: width }, (_, i) => place(i, cols, width));
  for (let y = 0; y < height; y++) {
    const [top, bottom, v] = place(y, rows, height);
    for (let x = 0; x < width; x++) {
      const [left, right, u] = across[x];
      const upper = grid[top * cols + left] * (1 - u) + grid[top * cols + right] * u;
      const lower = grid[bottom * cols + left] * (1 - u) + grid[bottom * cols + right] * u;
      out[y * width + x] = upper * (1 - v) + lower * v;
    }
  }
  return out;
}

// Values in 0..1; null for a blank map. What was not positive is zero already.
function scaled(map, width, height) {
  const values = upsample(bytes(map.values), map.rows, map.cols, width, height);
  let low = Infinity, high = -Infinity;
  for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
  if (high <= 0) return null;
  if (high - low <= 1e-6 * high) return values.fill(1);
  return values.map((v) => (v - low) / (high - low));
}

// Colour says the value; weak activation lets the patch shine through.
function paint(canvas, values, heat) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < values.length; i++) {
    const step = Math.round(values[i] * 255);
    image.data.set(heat.subarray(3 * step, 3 * step + 3), 4 * i);
    image.data[4 * i + 3] = Math.round(255 * Math.min(1, values[i] * 1.6));
  }
  context.putImageData(image, 0, 0);
}

// The border of values >= threshold, as path data in pixels: marching squares, cut linearly, joined into lines.
function border(values, width, height, threshold) {
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? -1 : values[y * width + x]);
  const cut = (a, b) => (a < 0 || b < 0 ? 0.5 : (threshold - a) / (b - a));
  const points = new Map(), next = new Map();
  const join = (from, to) => { next.set(from, [...(next.get(from) || []), to]); };
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const a = at(x, y), b = at(x + 1, y), c = at(x + 1, y + 1), d = at(x, y + 1);
      const inside = [a, b, c, d].map((v) => v >= threshold);
      if (inside.every((v) => v === inside[0])) continue;
      const ends = [];
      const end = (name, px, py) => { points.set(name, `${(px + 0.5).toFixed(1)} ${(py + 0.5).toFixed(1)}`); ends.push(name); };
      if (inside[0] !== inside[1]) end(`h${x},${y}`, x + cut(a, b), y);
      if (inside[1] !== inside[2]) end(`v${x + 1},${y}`, x + 1, y + cut(b, c));
      if (inside[3] !== inside[2]) end(`h${x},${y + 1}`, x + cut(d, c), y + 1);
      if (inside[0] !== inside[3]) end(`v${x},${y}`, x, y + cut(a, d));
      for (let i = 0; i + 1 < ends.length; i += 2) { join(ends[i], ends[i + 1]); join(ends[i + 1], ends[i]); }
    }
  }
  let path = "";
  const left = new Set(points.keys());
  for (const start of points.keys()) {
    if (!left.delete(start)) continue;
    path += "M" + points.get(start);
    for (let here = start; here; ) {
      here = next.get(here).find((name) => left.has(name));
      if (here) { left.delete(here); path += "L" + points.get(here); }
    }
    path += "Z";
  }
  return path;
}
