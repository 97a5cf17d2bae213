// Cards: a patch with its outline, one model's map and its prediction.
const SVG = "http://www.w3.org/2000/svg";
const PAGE = 48;
const cards = document.getElementById("cards");
const more = document.getElementById("more");
let samples = [];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const path = (kind, d) => drawn("path", { class: kind, d });

const score = (value) => (value === null ? "–" : value.toFixed(2));
const link = (sample) => "#sample=" + encodeURIComponent(sample.key);

// A box, and words above it, or in it where it begins at the top.
function box(x0, y0, x1, y1, kind, words, width) {
  const frame = drawn("rect", { class: kind, x: x0, y: y0, width: x1 - x0, height: y1 - y0 });
  const size = width / 13, above = kind.startsWith("mark");
  const y = above ? (y0 > size ? y0 - size / 4 : y0 + size) : y1 + size;
  const text = drawn("text", { class: kind, x: Math.min(Math.max(x0, 0), width - 0.72 * words.length * size), y, "font-size": size });
  text.textContent = words;
  return words ? [frame, text] : [frame];
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// How many of a film's lesions are found, and how many marks lie on none.
function tally(r) {
  const found = r.lesions.filter((lesion) => lesion[4]).length, wrong = r.marks.filter((mark) => !mark[5]).length;
  const lesions = r.lesions.length === 1 ? "1 lesion" : `${r.lesions.length} lesions`;
  if (!r.marks.length) return r.lesions.length ? `${found} of ${lesions} found, nothing marked` : "no lesion, nothing marked";
  return `${found} of ${lesions} found, ${wrong === 1 ? "1 false mark" : `${wrong} false marks`}`;
}

// The patch as a picture; the map is drawn when it first comes into view.
function picture(sample, r) {
  const { width, height } = sample;
  const frame = element("div", { class: "picture", style: `aspect-ratio: ${width} / ${height}` });
  frame.append(element("img", { src: sample.image, width, height, loading: "lazy", alt: describe(sample, r) }));
  const lines = document.createElementNS(SVG, "svg");
  lines.setAttribute("viewBox", `0 0 ${width} ${height}`);
  lines.setAttribute("aria-hidden", "true");
  if (r && r.map) {
    const canvas = element("canvas", { width, height, "aria-hidden": "true" });
    frame.append(canvas);
    frame.draw = () => {
      frame.draw = null;
      const values = scaled(r.map, width, height);
      if (values === null) return;
      paint(canvas, values, record.heat);
      if (r.threshold !== null) lines.prepend(path("marked", border(values, width, height, r.threshold)));
    };
    seen.observe(frame);
  }
  for (const [x0, y0, x1, y1, found] of r?.lesions ?? []) lines.append(...box(x0, y0, x1, y1, found ? "lesion" : "lesion missed", found ? "" : "missed", width));
  for (const [x0, y0, x1, y1, value, on] of r?.marks ?? []) lines.append(...box(x0, y0, x1, y1, on ? "mark" : "mark false", score(value), width));
  if (sample.outline) lines.append(path("halo", sample.outline), path("outline", sample.outline));
  frame.append(lines);
  return frame;
}

function drawAll() {
  for (const frame of document.querySelectorAll(".cards .picture")) {
    if (frame.draw) { seen.unobserve(frame); frame.draw(); }
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    target.draw();
  }
}, { rootMargin: "300px" });

const unit = record.unit[0].toUpperCase() + record.unit.slice(1);

function describe(sample, r) {
  const prediction = r ? `, predicted ${r.predicted}, IoU ${r.iou === null ? "none" : score(r.iou)}` : "";
  return `${unit} of ${sample.label}${prediction}${r?.marks ? `; ${tally(r)}` : ""}`;
}

function verdict(r) {
  const word = element("span", { class: r.correct ? "right" : "wrong" }, r.correct ? "✓ " : "✗ ", r.predicted);
  word.title = r.correct ? "correct" : "wrong";
  return word;
}

function card(sample, run) {
  const r = result(sample, run);
  const confidence = r.confidence === null ? "" : `${Math.round(100 * r.confidence)} % confidence`;
  const numbers = element("span", { class: "numbers pair" }, element("span", {}, `IoU ${score(r.iou)}`), element("span", {}, confidence));
  const open = element("a", { href: link(sample), class: "card" }, picture(sample, r), element("strong", {}, sample.label), verdict(r), numbers);
  if (r.marks) open.append(element("span", { class: "numbers" }, tally(r)));
  return element("li", { "data-key": sample.key }, open);
}

function show(run, from) {
  cards.append(...samples.slice(from, from + PAGE).map((sample) => card(sample, run)));
  more.hidden = cards.children.length >= samples.length;
}

function refresh() {
  samples = wanted();
  cards.replaceChildren();
  show(form.elements.run.value, 0);
  document.getElementById("found").textContent = `${samples.length} of ${record.samples.length} ${record.units}`;
  document.getElementById("found-of").textContent = form.elements.run.selectedOptions[0]?.textContent ?? "";
  for (const place of document.querySelectorAll(".banner a[href^='#gallery']")) place.href = address();
}
