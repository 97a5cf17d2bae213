// Which samples are shown, and in which order.
const record = JSON.parse(document.getElementById("gallery-data").textContent);
record.heat = bytes(record.heat);
const form = document.getElementById("filters");
const result = (sample, run) => sample.results[run];

function wanted() {
  const value = Object.fromEntries(new FormData(form));
  const low = Number(value.low), high = Number(value.high);
  const bounded = low > 0 || high < 1;
  return record.samples.filter((sample) => {
    const r = result(sample, value.run);
    if (!r) return false;
    if (value.code && sample.code !== value.code) return false;
    if (value.correct && r.correct !== (value.correct === "yes")) return false;
    if (value.located && r.hit !== (value.located === "yes")) return false;
    return !bounded || (r.iou !== null && r.iou >= low && r.iou <= high);
  }).sort(order(value.sort, value.run));
}

// Samples without the value go last, whichever way the order runs.
function order(name, run) {
  const [key, way] = name.split("-");
  if (key === "record") return () => 0;
  const read = (sample) => (key === "fraction" ? sample.fraction : result(sample, run)[key]);
  const sign = way === "down" ? -1 : 1;
  return (a, b) => {
    const left = read(a), right = read(b);
    if (left === null || right === null) return (left === null) - (right === null);
    return sign * (left - right);
  };
}
