// Finds sections by words: each must be in the section or in its heading. Nothing is loaded.
const input = document.getElementById("search");
const page = document.getElementById("page");
const found = document.getElementById("found");
const menu = document.getElementById("menu");
const wide = matchMedia("(min-width: 60rem)");
const MOST = 25;

function search(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const score = ({ page, heading, text }) => {
    const places = [[heading, 20], [page, 5], [text, 1]];
    const scores = words.map((word) => {
      const hits = ([place, weight]) => Math.min(place.toLowerCase().split(word).length - 1, 5) * weight;
      return places.map(hits).reduce((sum, value) => sum + value);
    });
    return Math.min(...scores) && scores.reduce((sum, value) => sum + value);
  };
  if (!words.length) return [];
  return SECTIONS.map((section) => ({ section, score: score(section) }))
    .filter((hit) => hit.score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, MOST)
    .map((hit) => hit.section);
}

function snippet(text, words) {
  const first = Math.min(...words.map((word) => text.toLowerCase().indexOf(word)).filter((at) => at >= 0));
  const from = Number.isFinite(first) ? Math.max(0, first - 60) : 0;
  const piece = (from ? "…" : "") + text.slice(from, from + 220) + (from + 220 < text.length ? "…" : "");
  const line = document.createElement("p");
  const pattern = new RegExp(`(${words.map((word) => word.replace(/[^\w\s]/g, "\\$&")).join("|")})`, "i");
  piece.split(pattern).forEach((part, i) => {
    const node = document.createElement(i % 2 ? "mark" : "span");
    node.textContent = part;
    line.append(node);
  });
  return line;
}

function show(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  page.hidden = words.length > 0;
  found.hidden = !page.hidden;
  const title = document.createElement("h1");
  const hits = search(query);
  title.textContent = hits.length ? `Found for “${query.trim()}”` : `Nothing found for “${query.trim()}”`;
  const articles = hits.map(({ page, heading, address, text }) => {
    const article = document.createElement("article");
    const head = document.createElement("h2");
    const link = document.createElement("a");
    link.href = address;
    link.textContent = page === heading ? page : `${page}: ${heading}`;
    link.onclick = () => { input.value = ""; show(""); };
    head.append(link);
    article.append(head, snippet(text, words));
    return article;
  });
  found.replaceChildren(title, ...articles);
}

input.addEventListener("input", () => { scrollTo(0, 0); show(input.value); });
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter") found.querySelector("a")?.click();
  if (event.key === "Escape") { input.value = ""; show(""); }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== input) { event.preventDefault(); input.focus(); }
});

// On a wide window the list of pages is always there.
const unfold = () => { menu.open = wide.matches; };
wide.addEventListener("change", unfold);
unfold();

input.value = new URLSearchParams(location.search).get("q") ?? "";
if (input.value) show(input.value);
