// The admin's one script of ours: the theme, a cookie that the server reads and writes into the body's class.
const root = document.documentElement;
const body = document.body;
const kept = ["light", "dark"].find((theme) => body.classList.contains(`theme-${theme}`));
if (kept) root.dataset.theme = kept;

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-theme-toggle]")) return;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = (root.dataset.theme || system) === "dark" ? "light" : "dark";
  root.dataset.theme = next;
  document.cookie = `theme=${next}; path=/; max-age=31536000; samesite=lax`;
});
