// Which samples are shown, and in which order.
const record = JSON.parse(document.getElementById("gallery-data").textContent);
record.heat = bytes(record.heat);
const form = document.getElementById("filters");
const result = (sample, run) => sample.results[run];

function wanted() {
  const value = Object.fromEntries(new FormData(form));
  const low = Number(value.low), high = value.high === "" ? 1 : Number(value.high);
  const text = value.text.trim().toLowerCase();
  const bounded = low > 0 || high < 1;
  return record.samples.filter((sample) => {
    const r = result(sample, value.run);
    if (!r) return false;
    if (value.code && sample.code !== value.code) return false;
    if (value.predicted && r.to !== value.predicted) return false;
    if (value.prototype && strongest(sample, value.run)?.number !== Number(value.prototype)) return false;
    if (value.marks && (value.marks === "nothing" ? r.marks?.length !== 0 : r.outcome !== value.marks)) return false;
    if (value.group && !sample.groups.includes(value.group)) return false;
    if (value.agree && agreed(sample) !== (value.agree === "yes")) return false;
    if (text && !words(sample).includes(text)) return false;
    if (value.correct && r.correct !== (value.correct === "yes")) return false;
    if (value.located && r.hit !== (value.located === "yes")) return false;
    return !bounded || (r.iou !== null && r.iou >= low && r.iou <= high);
  }).sort(order(value.sort, value.run));
}

const agreed = (sample) => new Set(Object.values(sample.results).map((r) => r.to)).size === 1;
const words = (sample) => [sample.key, sample.label, ...sample.facts.map((fact) => fact[1])].join("\n").toLowerCase();

// The address holds the filters that are set, so a link to them lasts and Back undoes them.
const fields = [...form.elements].filter((field) => field.name && field.name !== "opacity");
const initial = new Map(fields.map((field) => [field, field.value]));

function address() {
  const set = fields.filter((field) => field.value !== initial.get(field)).map((field) => [field.name, field.value]);
  return "#gallery" + (set.length ? "?" + new URLSearchParams(set) : "");
}

// Sets the filters to those of the address, one without any clears them; false where it names something else.
function restore() {
  const found = /^(?:#gallery(?:\?(.*))?)?$/.exec(location.hash);
  if (!found) return false;
  const wanted = new URLSearchParams(found[1] || "");
  for (const field of fields) {
    field.value = wanted.get(field.name) ?? initial.get(field);
    if (field.value !== wanted.get(field.name)) field.value = initial.get(field);
  }
  return true;
}

// Samples without the value go last, whichever way the order runs.
function order(name, run) {
  const [key, way] = name.split("-");
  if (key === "record") return () => 0;
  const read = (sample) => (key === "fraction" ? sample.fraction : result(sample, run)[key] ?? null);
  const sign = way === "down" ? -1 : 1;
  return (a, b) => {
    const left = read(a), right = read(b);
    if (left === null || right === null) return (left === null) - (right === null);
    return sign * (left - right);
  };
}
