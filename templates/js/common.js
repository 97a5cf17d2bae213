// Copying and colours: what every page has.
// The clipboard needs a secure page; a file opened from disk may have none, so the text is selected instead.
async function copy(text, button, source) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    if (source) getSelection().selectAllChildren(source);
    button.textContent = source ? "Selected" : text;
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}
for (const button of document.querySelectorAll("button.copy")) {
  const source = button.parentElement.querySelector("code");
  button.addEventListener("click", () => copy(source.textContent, button, source));
}

const theme = document.getElementById("theme");
const themes = { Auto: ["Light", "light"], Light: ["Dark", "dark"], Dark: ["Auto", "light dark"] };
theme.addEventListener("click", () => {
  const [name, scheme] = themes[theme.textContent];
  document.documentElement.style.colorScheme = scheme;
  theme.textContent = name;
  theme.setAttribute("aria-label", `Colours: ${name}`);
});
