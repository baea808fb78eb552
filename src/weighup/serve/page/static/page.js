// Comfort only: every page reads and every form works without this file.
"use strict";
(function () {
  var root = document.documentElement, said = document.getElementById("said");
  root.classList.add("js");

  function say(text) { if (said) { said.textContent = ""; said.textContent = text; } }

  // A form that takes a while says so, and is not sent twice.
  document.addEventListener("submit", function (event) {
    var busy = event.target.getAttribute("data-busy");
    if (!busy) return;
    var button = event.target.querySelector("button");
    if (button.getAttribute("aria-disabled") === "true") { event.preventDefault(); return; }
    button.setAttribute("aria-disabled", "true");
    button.textContent = busy;
    say(busy);
  });
  // Pages that come back from the browser's own memory have their buttons again.
  window.addEventListener("pageshow", function (event) { if (event.persisted) location.reload(); });

  // What the server says goes in as text, never as markup.
  document.addEventListener("htmx:responseError", function (event) {
    say(String(event.detail.xhr.responseText || "").slice(0, 300) || "The server did not take it.");
  });
  document.addEventListener("htmx:sendError", function () { say("The server cannot be reached. It is tried again when you act again."); });

  // How far a check is, for those who hear it: when it changes, not at every look.
  document.addEventListener("htmx:afterSettle", function () {
    var now = document.querySelector("[data-heard]"), heard = document.getElementById("heard");
    if (now && heard.textContent !== now.getAttribute("data-heard")) heard.textContent = now.getAttribute("data-heard");
  });

  // Keyboard shortcuts. Off where the box is not ticked (WCAG 2.1.4), which is remembered.
  var queue = document.querySelector(".queue"), arena = document.querySelector("[data-arena]");
  var box = document.getElementById("keys");
  if (!box) return;
  try { box.checked = localStorage.getItem("keys") !== "off"; } catch (_) { /* no memory: on */ }
  box.addEventListener("change", function () {
    try { localStorage.setItem("keys", box.checked ? "on" : "off"); } catch (_) { /* for this page only */ }
  });

  // The arena by keyboard: votes on a pair, places in a set.
  if (arena) {
    var answers = Array.prototype.slice.call(arena.querySelectorAll("[data-answer]")), sent = false;
    arena.addEventListener("submit", function (event) {
      if (sent) { event.preventDefault(); return; }
      sent = true;
      say("Your vote is sent.");
    });
    document.addEventListener("keydown", function (event) {
      var key = event.key, at = answers.indexOf(document.activeElement && document.activeElement.closest("[data-answer]"));
      if (!box.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      // In a field, and in a region that scrolls, keys do what they do anywhere.
      if (event.target.closest("input:not([type=checkbox]), textarea, select, .scroll")) return;
      if (key === "ArrowLeft" || key === "ArrowRight") {
        at = at < 0 ? 0 : at + (key === "ArrowRight" ? 1 : -1);
        answers[Math.max(0, Math.min(at, answers.length - 1))].focus();
        event.preventDefault();
      } else if (/^[a-z]$/i.test(key)) {
        var button = arena.querySelector('button[data-key="' + key.toLowerCase() + '"]');
        if (button) { event.preventDefault(); button.click(); }
      } else if (/^[1-9]$/.test(key) && at >= 0) {
        var place = answers[at].querySelector('input[type=radio][value="' + key + '"]');
        if (!place) return;
        place.checked = true;
        say(answers[at].querySelector("h2").textContent + ": place " + key);
        if (answers[at + 1]) answers[at + 1].focus();
        event.preventDefault();
      } else if (key === "Enter" && at >= 0 && document.activeElement === answers[at] && arena.querySelector("input[type=radio]")) {
        event.preventDefault();
        arena.requestSubmit();
      }
    });
  }
  if (!queue) return;

  // The review queue by keyboard.
  function rows() { return Array.prototype.slice.call(queue.querySelectorAll("[data-row]")); }
  function here() { var row = document.activeElement && document.activeElement.closest("[data-row]"); return row ? rows().indexOf(row) : -1; }
  function go(place) {
    var all = rows(), row = all[Math.max(0, Math.min(place, all.length - 1))];
    if (row) { row.focus({ preventScroll: true }); row.scrollIntoView({ block: "nearest" }); }
  }

  document.addEventListener("keydown", function (event) {
    var key = event.key.toLowerCase(), at = here();
    if (!box.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat && "jk".indexOf(key) < 0) return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select")) return;
    if (key === "j" || key === "k") { go(at < 0 ? 0 : at + (key === "j" ? 1 : -1)); event.preventDefault(); return; }
    var row = rows()[at];
    if (!row) return;
    if (key === "o") { row.querySelector("[data-open]").click(); return; }
    var button = row.querySelector('button[data-key="' + (/^[a-z]$/.test(key) ? key : "") + '"]');
    if (button) { button.click(); event.preventDefault(); }
  });

  // A row that was labelled is put in anew: go on to the next one that waits, from where the hands are.
  var last = -1;
  document.addEventListener("htmx:beforeRequest", function (event) {
    var row = event.target.closest("[data-row]");
    if (row) last = rows().indexOf(row);
  });
  document.addEventListener("htmx:afterSettle", function () {
    if (last < 0) return;
    var all = rows(), place = last, kept = all[place] && all[place].querySelector(".kept");
    last = -1;
    if (kept) say(kept.textContent);
    for (var next = place + 1; next < all.length; next++) {
      if (!all[next].classList.contains("told")) { go(next); return; }
    }
    go(place);
  });
})();
