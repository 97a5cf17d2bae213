// Tables sort by a press on a head: up, down, and as they were. Sections fold by a press on their title.
const pressed = (kind, head) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = kind;
  button.append(...head.childNodes);
  head.append(button);
  return button;
};

// A cell as number or text; null for a dash, which goes last whichever way the order runs.
function written(row, column, numeric) {
  const cell = row.cells[column];
  const text = ((cell.querySelector("a") || cell.firstChild)?.textContent ?? "").trim();
  if (!numeric) return text === "–" ? null : text;
  const found = /[+-]?[\d.]+/.exec(text.replace("−", "-").replace(/[\s,]/g, ""));
  return found ? Number(found[0]) : null;
}

function sort(body, original, column, way, numeric) {
  const keyed = original.map((row) => [written(row, column, numeric), row]);
  const sign = way === "descending" ? -1 : 1;
  const order = ([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
  };
  body.append(...(way === "none" ? original : keyed.sort(order).map(([, row]) => row)));
}

for (const table of document.querySelectorAll("table:not(.confusion)")) {
  const body = table.tBodies[0], original = [...body.rows], heads = [...table.tHead.rows[0].cells];
  if (original.length < 2) continue;
  heads.forEach((head, column) => pressed("sort", head).addEventListener("click", () => {
    const way = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] || "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    if (way !== "none") head.setAttribute("aria-sort", way);
    sort(body, original, column, way, head.classList.contains("num"));
  }));
}

for (const title of document.querySelectorAll("main > section > h2")) {
  const body = document.createElement("div");
  while (title.nextSibling) body.append(title.nextSibling);
  title.after(body);
  const button = pressed("fold", title);
  const show = (open) => {
    button.setAttribute("aria-expanded", open);
    if (open) body.removeAttribute("hidden");
    else body.setAttribute("hidden", "until-found");
  };
  show(true);
  title.parentElement.unfold = () => show(true);
  button.addEventListener("click", () => show(body.hasAttribute("hidden")));
  body.addEventListener("beforematch", () => show(true));
}

// Opens what is folded around a place of the page, and goes there.
function reveal(id) {
  const place = document.getElementById(id);
  place?.closest("main > section")?.unfold?.();
  place?.scrollIntoView();
}
