// A picture that cannot be shown says why, in words, where the picture would be.
"use strict";

// Errors of images do not bubble, but they can be captured on their way down; listening before
// any image exists misses none.
document.addEventListener(
    "error",
    (event) => {
        const img = event.target;
        if (!(img instanceof HTMLImageElement) || !("picture" in img.dataset)) {
            return;
        }
        img.closest("a, td, th, li")?.classList.add("desk-no-picture");
        const place = img.closest("figure")?.querySelector(".desk-picture-problem");
        if (!place) {
            return;
        }
        fetch(img.src, { credentials: "same-origin" })
            .then((answer) => (answer.ok ? "The picture could not be loaded." : answer.text()))
            .catch(() => "The picture could not be loaded.")
            .then((reason) => {
                place.textContent = reason;
                place.hidden = false;
            });
    },
    true,
);
