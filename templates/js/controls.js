// Form controls of the gallery.
const opacity = (value) => document.documentElement.style.setProperty("--opacity", value / 100);
const sliders = [form.elements.opacity, document.getElementById("viewer-opacity")];
for (const slider of sliders) {
  slider.addEventListener("input", () => {
    for (const other of sliders) other.value = slider.value;
    opacity(slider.value);
  });
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  if (event.target.name === "opacity") return;
  history[event.target.tagName === "SELECT" ? "pushState" : "replaceState"](null, "", address());
  refresh();
});
form.addEventListener("reset", () => setTimeout(() => {
  opacity(form.elements.opacity.value);
  sliders[1].value = sliders[0].value;
  history.pushState(null, "", "#gallery");
  refresh();
}));
more.addEventListener("click", () => show(form.elements.run.value, cards.children.length));

const copyLink = document.getElementById("link");
copyLink.addEventListener("click", () => copy(location.href, copyLink, null));

const bar = document.getElementById("scale").getContext("2d");
const colours = bar.createImageData(256, 1);
for (let i = 0; i < 256; i++) colours.data.set([...record.heat.subarray(3 * i, 3 * i + 3), 255], 4 * i);
bar.putImageData(colours, 0, 0);

addEventListener("beforeprint", drawAll);
follow();
if (!samples.length) refresh();
