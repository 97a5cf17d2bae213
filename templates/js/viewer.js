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
    const against = r.iou === null ? "background: no annotation to compare with" : `IoU ${score(r.iou)}, whole patch ${score(r.whole)}`;
    item.append(verdict(r), element("span", { class: "numbers" }, r.confidence === null ? "" : `${Math.round(100 * r.confidence)} % confidence`), element("span", { class: "numbers" }, against));
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
  return [element("h3", {}, `Every attribution method that explained this patch: ${run.title}`), element("ul", { class: "panels" }, ...panels)];
}

function open(sample) {
  current = sample;
  document.getElementById("viewer-title").textContent = `${sample.label} · ${sample.key}`;
  const facts = sample.facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  document.getElementById("viewer-facts").replaceChildren(...facts);
  const models = record.runs.filter((run) => result(sample, run.id));
  panels.replaceChildren(panel("Patch and annotation", sample, null), ...models.map((run) => panel(run.title, sample, result(sample, run.id), run.series)));
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
