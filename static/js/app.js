// Behaviours of the site. No inline handlers and no eval, so that "script-src 'self'" holds;
// every listener is delegated from the document, so that what htmx swaps in needs no set-up.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

function on(type, selector, handle) {
  document.addEventListener(type, (event) => {
    const match = event.target.closest?.(selector);
    if (match) handle(event, match);
  });
}

// Toasts: a live region in the top layer, so that they show above dialogs and never move the layout.
const TOAST_MS = 3500;

function toast(text, kind = "ok") {
  const region = $("#toasts");
  if (!region) return;
  const item = document.createElement("div");
  item.className = `toast ${kind}`;
  item.textContent = text;
  region.append(item);
  if (region.matches(":popover-open")) region.hidePopover?.();
  region.showPopover?.();
  setTimeout(() => {
    item.remove();
    if (!region.children.length) region.hidePopover?.();
  }, TOAST_MS);
}

// The server sends one with the header HX-Trigger: {"toast": {"text": "…", "kind": "ok"}}.
document.addEventListener("toast", (event) => toast(event.detail.text ?? event.detail.value, event.detail.kind));

// Copy: data-copy="text", or data-copy-code for the visible panel of the code block around the button.
async function copyText(text, label) {
  try {
    await navigator.clipboard.writeText(text);
    toast(label || "Copied");
  } catch {
    toast("Could not copy. Select the text and press Ctrl+C.", "bad");
  }
}

on("click", "[data-copy]", (event, button) => copyText(button.dataset.copy, button.dataset.copied));
on("click", "[data-copy-code]", (event, button) => {
  const panel = $$("pre", button.closest(".code")).find((pre) => !pre.closest("[hidden]"));
  if (panel) copyText(panel.textContent.replace(/\n$/, ""), button.dataset.copied || "Snippet copied");
});

// Theme: a cookie that the server reads, so that the next page comes in the right colours at once.
on("click", "[data-theme-toggle]", () => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = (root.dataset.theme || system) === "dark" ? "light" : "dark";
  root.dataset.theme = next;
  document.cookie = `theme=${next}; path=/; max-age=31536000; samesite=lax`;
});

// Dialogs: commandfor where the browser lacks it; a click on the backdrop closes; data-auto opens after a swap.
if (!("command" in HTMLButtonElement.prototype)) {
  on("click", "[commandfor]", (event, button) => {
    const dialog = document.getElementById(button.getAttribute("commandfor"));
    if (button.getAttribute("command") === "show-modal") dialog.showModal();
    else dialog.close();
  });
}
on("click", "dialog", (event, dialog) => {
  if (event.target === dialog && !dialog.hasAttribute("data-keep")) dialog.close();
});
document.addEventListener("htmx:afterSettle", (event) => {
  const target = event.target;
  const dialog = target.matches?.("dialog[data-auto]") ? target : target.querySelector?.("dialog[data-auto]");
  if (dialog && !dialog.open) dialog.showModal();
});

// A dialog that may hold a secret leaves the page when it closes (the event does not bubble, so it is caught on its way down).
document.addEventListener(
  "close",
  (event) => {
    if (event.target.matches("dialog[data-once]")) event.target.remove();
  },
  true,
);

// Tabs. data-lang on a tab makes the choice stick: all blocks that have the language follow, now and next time.
const LANGUAGE_KEY = "lumyx-language";

function selectTab(tab) {
  for (const other of $$("[role=tab]", tab.closest("[role=tablist]"))) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
}

function rememberLanguage(tab) {
  const language = tab.dataset.lang;
  if (!language) return;
  for (const twin of $$("[role=tab][data-lang]")) if (twin.dataset.lang === language) selectTab(twin);
  try {
    localStorage.setItem(LANGUAGE_KEY, language);
  } catch {
    // Storage may be switched off; the choice then lasts for this page.
  }
}

function restoreLanguage(root = document) {
  let language = null;
  try {
    language = localStorage.getItem(LANGUAGE_KEY);
  } catch {
    return;
  }
  for (const tab of $$("[role=tab][data-lang]", root)) if (tab.dataset.lang === language) selectTab(tab);
}

on("click", "[role=tab]", (event, tab) => {
  const before = tab.getBoundingClientRect().top;
  selectTab(tab);
  rememberLanguage(tab);
  scrollBy(0, tab.getBoundingClientRect().top - before);
});
on("keydown", "[role=tab]", (event, tab) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = $$("[role=tab]", tab.closest("[role=tablist]"));
  const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
  next.focus();
  selectTab(next);
  rememberLanguage(next);
});

// Command palette and shortcuts: Ctrl+K, "/" for search, "g" and then a letter.
const options = () => $$("#palette [role=option]");

function openPalette() {
  const palette = $("#palette");
  if (!palette || palette.open) return;
  palette.showModal();
  $("input", palette).value = "";
  filterPalette();
}

function choose(option) {
  for (const other of options()) other.setAttribute("aria-selected", String(other === option));
  const input = $("#palette input");
  if (option) input.setAttribute("aria-activedescendant", option.id);
  else input.removeAttribute("aria-activedescendant");
  option?.scrollIntoView({ block: "nearest" });
}

function filterPalette() {
  const query = $("#palette input").value.trim().toLowerCase();
  for (const option of options()) option.hidden = !option.textContent.toLowerCase().includes(query);
  const shown = options().filter((option) => !option.hidden);
  choose(shown[0]);
  $("#palette-none").hidden = shown.length > 0;
}

on("click", "[data-palette]", openPalette);
on("click", "#palette [role=option]", (event, option) => location.assign(option.dataset.href));
on("input", "#palette input", filterPalette);
on("keydown", "#palette input", (event) => {
  const shown = options().filter((option) => !option.hidden);
  const at = shown.findIndex((option) => option.getAttribute("aria-selected") === "true");
  if (event.key === "Enter") {
    event.preventDefault();
    if (shown[at]) location.assign(shown[at].dataset.href);
    return;
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !shown.length) return;
  event.preventDefault();
  choose(shown[(at + step + shown.length) % shown.length]);
});

let chord = false;
document.addEventListener("keydown", (event) => {
  if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k" && $("#palette")) {
    event.preventDefault();
    openPalette();
    return;
  }
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
  if (typing || event.metaKey || event.ctrlKey || event.altKey || $("dialog[open]")) return;
  const goal = chord && $(`[data-go="${CSS.escape(event.key)}"]`);
  chord = event.key === "g";
  if (goal) goal.click();
  else if (event.key === "/" && $("[data-search]")) {
    event.preventDefault();
    $("[data-search]").focus();
  } else if (event.key === "?") openPalette();
});

// Charts: the tooltip's content is a <template> that the column names.
function showTip(event, column) {
  const chart = column.closest(".chart");
  const tip = $(".tip", chart);
  tip.replaceChildren(document.getElementById(column.dataset.tip).content.cloneNode(true));
  tip.classList.add("on");
  const frame = chart.getBoundingClientRect();
  const bar = $(".hit", column).getBoundingClientRect();
  let left = bar.right - frame.left + 8;
  if (left + tip.offsetWidth > frame.width) left = Math.max(0, bar.left - frame.left - tip.offsetWidth - 8);
  tip.style.left = `${left}px`;
  tip.style.top = "8px";
}

on("pointerover", ".chart .col", showTip);
on("focusin", ".chart .col", showTip);
on("pointerout", ".chart", (event, chart) => {
  if (!chart.contains(event.relatedTarget)) $(".tip", chart)?.classList.remove("on");
});
on("focusout", ".chart .col", (event, column) => $(".tip", column.closest(".chart"))?.classList.remove("on"));

// <time data-local>: the reader's own zone; the exact UTC value stays in the title.
const shortTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function localTimes(root = document) {
  for (const time of $$("time[data-local]", root)) {
    const moment = new Date(time.dateTime);
    time.title = moment.toISOString();
    time.textContent = shortTime.format(moment);
  }
}

// Forms that htmx does not send: a second press must not send twice.
on("submit", "form[method=post]:not([hx-post])", (event, form) => {
  if (event.defaultPrevented) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "1";
  for (const button of $$("button[type=submit], button:not([type])", form)) button.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => {
  for (const form of $$("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of $$("[aria-busy]", form)) button.removeAttribute("aria-busy");
  }
});

document.addEventListener("htmx:afterSwap", (event) => {
  localTimes(event.target);
  restoreLanguage(event.target);
});
document.addEventListener("htmx:responseError", (event) => {
  toast(`That did not work (${event.detail.xhr.status}). Try again, or reload the page.`, "bad");
});
document.addEventListener("htmx:sendError", () => toast("No connection to the server. Check your network.", "bad"));

localTimes();
restoreLanguage();
