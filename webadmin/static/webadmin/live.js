// Parts of a page that follow by themselves: <div data-live="URL"> is filled again and again with
// what the URL answers, until a part of it is marked data-live-done.
"use strict";

(() => {
    const EVERY_MS = 2000;

    function follow(part) {
        const isDone = () => part.querySelector("[data-live-done]") !== null;

        async function look() {
            if (!document.hidden) {
                try {
                    const answer = await fetch(part.dataset.live, { credentials: "same-origin" });
                    if (answer.redirected || answer.status === 403 || answer.status === 404) return;
                    // A button that is about to be pressed stays where it is.
                    if (answer.ok && !part.contains(document.activeElement)) {
                        part.innerHTML = await answer.text();
                    }
                } catch {
                    // Away for a moment; the next look may find it.
                }
            }
            if (!isDone()) window.setTimeout(look, EVERY_MS);
        }

        if (!isDone()) window.setTimeout(look, EVERY_MS);
    }

    document.addEventListener("DOMContentLoaded", () => {
        for (const part of document.querySelectorAll("[data-live]")) follow(part);
    });
})();
