// The reading list by keys, and short addresses of what is filtered.
"use strict";

(() => {
    const list = document.getElementById("reading-list");
    const cards = [...list.querySelectorAll(".reading-card")];
    const filters = list.querySelector(".reading-filters");

    filters.addEventListener("submit", () => {
        // What narrows nothing stays out of the address.
        for (const choice of filters.querySelectorAll("select")) {
            if (choice.selectedIndex === 0) choice.disabled = true;
        }
    });
    window.addEventListener("pageshow", () => {
        for (const choice of filters.querySelectorAll("select")) choice.disabled = false;
    });

    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || !cards.length) return;
        if (!(event.target instanceof Element) || event.target.matches("input, select, textarea")) return;
        const step = { j: 1, n: 1, k: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const at = cards.indexOf(document.activeElement);
        const next = at < 0 ? 0 : Math.min(cards.length - 1, Math.max(0, at + step));
        cards[next].focus();
    });
})();
