// One sample, all models side by side. The address names the sample, so a link to it lasts.
const viewer = document.getElementById("viewer");
const panels = document.getElementById("panels");
let current = null, opener = null;

function named() {
  const found = /^#sample=(.+)$/.exec(location.hash);
  if (!found) return null;
  let key;
  try { key = decodeURIComponent(found[1]); } catch { return null; }
  return record.samples.find((sample) => sample.key === key) || null;
}

function panel(title, sample, r, series) {
  const head = element("h3", series === undefined ? {} : { class: `keyed s${series}` }, title);
  const item = element("li", {}, head, picture(sample, r));
  if (r) {
    const against = r.iou === null ? "background: no annotation to compare with" : `IoU ${score(r.iou)}, whole ${record.unit} ${score(r.whole)}`;
    item.append(verdict(r), element("span", { class: "numbers" }, r.confidence === null ? "" : `${Math.round(100 * r.confidence)} % confidence`), element("span", { class: "numbers" }, against));
    if (r.marks) item.append(element("span", { class: "numbers" }, tally(r)));
    if (!r.map || scaled(r.map, 8, 8) === null) item.append(element("span", { class: "numbers" }, "The map has no positive value."));
  }
  return item;
}

// Every attribution method of one model side by side, the headline's first.
function byMethod(run, sample) {
  const r = result(sample, run.id);
  const panels = [{ ...r, name: record.method }, ...r.methods.map((m) => ({ ...r, ...m }))].map((m) => {
    const against = m.iou === null ? [] : [`IoU ${score(m.iou)}`, m.hit ? "maximum inside" : "maximum outside"];
    const item = element("li", {}, element("h3", {}, m.name), picture(sample, m));
    item.append(...against.map((line) => element("span", { class: "numbers" }, line)));
    if (!m.map || scaled(m.map, 8, 8) === null) item.append(element("span", { class: "numbers" }, "The map has no positive value."));
    return item;
  });
  return [element("h3", {}, `Every attribution method that explained this ${record.unit}: ${run.title}`), element("ul", { class: "panels" }, ...panels)];
}

// This looks like that: what each prototype that was kept adds to the logit of the predicted class, most first.
function matches(sample, run) {
  const found = record.cases?.runs[run], r = result(sample, run);
  if (!found || !r || !found.likeness[sample.key]) return [];
  const known = new Map(found.prototypes.map((p) => [p.number, p]));
  const at = record.classes.findIndex((each) => each.code === r.to);
  return found.likeness[sample.key].map(([number, similarity, row, column]) => {
    const prototype = known.get(number), [rows, columns] = found.grid;
    const across = sample.width / columns, down = sample.height / rows, box = [column * across, row * down, across, down];
    return { number, prototype, similarity, box, weight: prototype.weights[at], points: similarity * prototype.weights[at] };
  }).sort((a, b) => b.points - a.points);
}

const strongest = (sample, run) => matches(sample, run)[0];

function framed(patch, image, box, words) {
  const made = picture({ ...patch, image, facts: [] }, null);
  made.querySelector("img").alt = words;
  const [x, y, width, height] = box;
  made.querySelector("svg").append(drawn("rect", { class: "place", x, y, width, height }));
  return made;
}

function looksLike(run, sample) {
  const all = matches(sample, run.id), r = result(sample, run.id), found = record.cases.runs[run.id];
  const same = (m) => all.filter((o) => o.prototype.key === m.prototype.key && String(o.prototype.box) === String(m.prototype.box));
  const items = all.filter((m) => same(m)[0] === m).slice(0, 3).map((m) => element("li", {},
    element("h4", {}, `Prototype ${same(m).map((o) => o.number).join(", ")}: ${m.prototype.label}`),
    element("div", { class: "pair" },
      framed(sample, sample.image, m.box, `Where this patch looks like prototype ${m.number}`),
      framed(m.prototype, record.cases.images[m.prototype.key], m.prototype.box, `Training patch ${m.prototype.key}, the place that is prototype ${m.number}`)),
    element("span", { class: "numbers" }, `similarity ${m.similarity.toFixed(2)} × weight ${m.weight.toFixed(2)} = ${m.points.toFixed(2)} points${same(m).length > 1 ? `; ${same(m).length} prototypes are this place` : ""}`),
    element("a", { href: `#prototype-${run.id}-${m.number}` }, `Training patch ${m.prototype.key}`)));
  const sums = record.classes.map((each, k) => [each.name, all.reduce((sum, m) => sum + m.similarity * m.prototype.weights[k], 0)])
    .sort((a, b) => b[1] - a[1]);
  const total = sums.map(([name, sum]) => element("div", {}, element("dt", {}, name), element("dd", {}, `${sum.toFixed(2)} points`)));
  return [element("h3", {}, `This looks like that: ${run.title}, ${r.predicted}`), element("ul", { class: "cases likeness" }, ...items),
    element("p", { class: "hint" }, `Points of all ${found.prototypes.length} prototypes by class; the most points are the prediction.`), element("dl", { class: "facts sums" }, ...total)];
}

// The page of prototypes: every one with the training patches most like it.
const caseList = document.getElementById("cases");
function listCases() {
  const run = document.getElementById("cases-run").value, found = record.cases.runs[run];
  caseList.replaceChildren(...found.prototypes.map((p) => element("li", { id: `prototype-${run}-${p.number}`, tabindex: "-1" },
    element("h4", {}, `Prototype ${p.number}: ${p.label}`),
    framed(p, record.cases.images[p.key], p.box, `Training patch ${p.key}, the place that is prototype ${p.number}`),
    element("ul", { class: "near" }, ...p.near.map((n) => element("li", {},
      picture({ ...n, image: record.cases.images[n.key], facts: [] }, null), element("span", { class: "numbers" }, n.label)))),
    element("a", { href: `#gallery?${new URLSearchParams({ run, prototype: p.number })}` }, `Test patches most like prototype ${p.number}`))));
}
function showCase() {
  const found = /^#prototype-(.+)-\d+$/.exec(location.hash), run = document.getElementById("cases-run");
  if (!caseList || !found) return;
  if (viewer.open) { current = null; viewer.close(); }  // nothing to go back to: the link leads elsewhere
  if (run.value !== found[1] && record.cases.runs[found[1]]) { run.value = found[1]; listCases(); }
  const item = document.getElementById(location.hash.slice(1));
  if (item) { item.scrollIntoView({ block: "center" }); item.focus(); }
}
if (caseList) {
  document.getElementById("cases-run").addEventListener("change", listCases);
  listCases();
  window.addEventListener("hashchange", showCase);
  window.addEventListener("load", showCase);
}

function open(sample) {
  current = sample;
  document.getElementById("viewer-title").textContent = `${sample.label} · ${sample.key}`;
  const facts = sample.facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  document.getElementById("viewer-facts").replaceChildren(...facts);
  const models = record.runs.filter((run) => result(sample, run.id));
  panels.replaceChildren(panel(`${unit} and annotation`, sample, null), ...models.map((run) => panel(run.title, sample, result(sample, run.id), run.series)));
  const cases = record.cases ? models.filter((run) => matches(sample, run.id).length) : [];
  document.getElementById("viewer-cases").replaceChildren(...cases.flatMap((run) => looksLike(run, sample)));
  const asked = models.filter((run) => result(sample, run.id).methods.length);
  document.getElementById("viewer-methods").replaceChildren(...asked.flatMap((run) => byMethod(run, sample)));
  if (!viewer.open) viewer.showModal();
  document.getElementById("viewer-title").focus();
}

function follow() {
  const sample = named();
  if (sample) open(sample);
  else if (viewer.open) viewer.close();
  if (sample || !restore()) return;
  refresh();
  if (location.hash.startsWith("#gallery?")) reveal("gallery");
}

function step(by) {
  const list = samples.includes(current) ? samples : record.samples;
  const at = list.indexOf(current);
  location.replace(link(list[(at + by + list.length) % list.length]));
}

viewer.addEventListener("close", () => {
  if (named()) history.replaceState(null, "", address());
  if (!current) return;
  const here = (item) => item.dataset.key === current.key;
  const back = opener && opener.isConnected && here(opener) ? opener : [...cards.children].find(here);
  if (back) back.firstElementChild.focus();
});
document.addEventListener("click", (event) => {
  const opened = event.target.closest("a.card");
  if (opened) opener = opened.parentElement;
});
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.addEventListener("keydown", (event) => {
  if (event.target.type === "range") return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
document.getElementById("close").addEventListener("click", () => viewer.close());
document.getElementById("previous").addEventListener("click", () => step(-1));
document.getElementById("next").addEventListener("click", () => step(1));
window.addEventListener("hashchange", follow);
