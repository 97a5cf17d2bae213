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

function path(kind, d) {
  const made = document.createElementNS(SVG, "path");
  made.setAttribute("class", kind);
  made.setAttribute("d", d);
  return made;
}

const score = (value) => (value === null ? "–" : value.toFixed(2));
const link = (sample) => "#sample=" + encodeURIComponent(sample.key);

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

function describe(sample, r) {
  const prediction = r ? `, predicted ${r.predicted}, IoU ${r.iou === null ? "none" : score(r.iou)}` : "";
  return `Patch of ${sample.label}${prediction}`;
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
