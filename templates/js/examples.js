// Examples of each quadrant, for one model at a time. A link beside them shows all of a quadrant in the gallery.
const exampled = document.getElementById("examples-run");
const byKey = new Map(record.samples.map((sample) => [sample.key, sample]));

function showExamples() {
  const found = record.examples[exampled.value] || [];
  document.querySelectorAll(".examples").forEach((list, n) => {
    const drawn = (found[n] || []).map((key) => card(byKey.get(key), exampled.value));
    list.replaceChildren(...(drawn.length ? drawn : [element("li", {}, `No ${record.unit}.`)]));
  });
  for (const all of document.querySelectorAll("#examples a[data-correct]")) {
    all.href = "#gallery?" + new URLSearchParams({ run: exampled.value, ...all.dataset });
  }
}

if (exampled) {
  exampled.addEventListener("change", showExamples);
  showExamples();
}

// Three maps beside the answer, chosen by their IoU.
const lead = document.getElementById("lead-maps");
for (const { key, words } of lead ? record.lead : []) {
  const item = card(byKey.get(key), lead.dataset.run);
  item.prepend(element("span", { class: "numbers" }, `${words} IoU`));
  lead.append(item);
}
