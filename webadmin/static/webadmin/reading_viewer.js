// The picture to be read: pan and zoom by wheel, pinch, drag and keys.
"use strict";

(() => {
    const stage = document.getElementById("reading-stage");
    const sheet = document.getElementById("reading-sheet");
    const picture = document.getElementById("reading-picture");
    const MOST = 12; // times what fits
    const STEP = 1.3;
    const PAN_PX = 60;
    const LEAST = 0.45; // of the window's height

    let size = { width: 0, height: 0 }; // of the picture as it was first loaded: what is measured in
    let fit = 1;
    let view = { scale: 1, x: 0, y: 0 };
    const followers = [];
    const fingers = new Map();

    function draw() {
        const width = size.width * view.scale;
        const height = size.height * view.scale;
        const room = { width: stage.clientWidth, height: stage.clientHeight };
        // What is smaller than the stage stands in its middle; what is larger leaves no gap.
        view.x = width <= room.width ? (room.width - width) / 2 : Math.min(0, Math.max(room.width - width, view.x));
        view.y = height <= room.height ? (room.height - height) / 2 : Math.min(0, Math.max(room.height - height, view.y));
        sheet.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
        stage.classList.toggle("is-zoomed", isZoomed());
        for (const follow of followers) follow(view.scale);
        if (view.scale > fit * 1.5 && picture.dataset.detail) sharpen();
    }

    const isZoomed = () => view.scale > fit * 1.01;

    function sharpen() {
        // The same picture with all its pixels, in the same place; once.
        const detail = new Image();
        detail.onload = () => { picture.src = detail.src; };
        detail.src = picture.dataset.detail;
        delete picture.dataset.detail;
    }

    function measure() {
        if (!size.width) return;
        const wasFit = !isZoomed();
        // The picture and what to say of it fit the first screen, unless that leaves too little.
        // With the ten findings open, the picture stands at the top of the window.
        const isOverriding = document.querySelector("#reading-override:not([hidden])") !== null;
        const above = isOverriding ? 0 : stage.getBoundingClientRect().top + window.scrollY;
        const below = document.querySelector(".reading-bar").offsetHeight + 24;
        const tallest = Math.max(window.innerHeight - above - below, window.innerHeight * LEAST, 240);
        stage.style.height = `${Math.min(tallest, (stage.clientWidth * size.height) / size.width)}px`;
        fit = Math.min(stage.clientWidth / size.width, stage.clientHeight / size.height);
        if (wasFit) view = { scale: fit, x: 0, y: 0 };
        draw();
    }

    function begin() {
        if (!picture.naturalWidth) return;
        size = { width: picture.naturalWidth, height: picture.naturalHeight };
        sheet.style.width = `${size.width}px`;
        sheet.style.height = `${size.height}px`;
        stage.classList.add("is-live");
        view = { scale: 0, x: 0, y: 0 };
        measure();
    }

    function zoomTo(scale, at) {
        const wanted = Math.min(Math.max(scale, fit), fit * MOST);
        const factor = wanted / view.scale;
        view = { scale: wanted, x: at.x - (at.x - view.x) * factor, y: at.y - (at.y - view.y) * factor };
        draw();
    }

    const middle = () => ({ x: stage.clientWidth / 2, y: stage.clientHeight / 2 });

    function within(event) {
        const box = stage.getBoundingClientRect();
        return { x: event.clientX - box.left, y: event.clientY - box.top };
    }

    const commands = {
        in: () => zoomTo(view.scale * STEP, middle()),
        out: () => zoomTo(view.scale / STEP, middle()),
        fit: () => zoomTo(fit, middle()),
        toggle: () => zoomTo(isZoomed() ? fit : fit * 2.5, middle()),
    };

    stage.addEventListener("wheel", (event) => {
        if (!size.width) return;
        event.preventDefault();
        zoomTo(view.scale * Math.exp(-event.deltaY / 400), within(event));
    }, { passive: false });

    stage.addEventListener("pointerdown", (event) => {
        if (event.button > 0 || !size.width) return;
        fingers.set(event.pointerId, within(event));
        if (isZoomed() || fingers.size > 1) stage.setPointerCapture(event.pointerId);
    });

    stage.addEventListener("pointermove", (event) => {
        const before = fingers.get(event.pointerId);
        if (!before) return;
        const now = within(event);
        if (fingers.size === 2) {
            const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
            const spread = (at) => Math.hypot(at.x - other.x, at.y - other.y);
            zoomTo((view.scale * spread(now)) / Math.max(1, spread(before)), other);
        } else if (isZoomed()) {
            view = { ...view, x: view.x + now.x - before.x, y: view.y + now.y - before.y };
            draw();
        }
        fingers.set(event.pointerId, now);
    });

    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
        stage.addEventListener(kind, (event) => fingers.delete(event.pointerId));
    }

    stage.addEventListener("dblclick", (event) => zoomTo(isZoomed() ? fit : fit * 2.5, within(event)));

    stage.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (!step || event.target !== stage || !isZoomed()) return;
        event.preventDefault();
        view = { ...view, x: view.x + step[0] * PAN_PX, y: view.y + step[1] * PAN_PX };
        draw();
    });

    for (const button of document.querySelectorAll("[data-view]")) {
        button.addEventListener("click", () => commands[button.dataset.view]());
    }

    // Of an object with several pages, another one.
    const first = document.querySelector("[data-page][aria-pressed=true]");
    for (const button of document.querySelectorAll("[data-page]")) {
        button.addEventListener("click", () => {
            for (const other of document.querySelectorAll("[data-page]")) {
                other.setAttribute("aria-pressed", String(other === button));
            }
            const address = new URL(picture.src);
            address.search = `?page=${button.dataset.page}`;
            picture.addEventListener("load", begin, { once: true });
            picture.src = address.href;
            address.search += "&size=detail";
            picture.dataset.detail = address.href;
            // Where the network looked is drawn for the page that was shown first.
            document.getElementById("reading-map").hidden = true;
            const choice = document.getElementById("reading-map-key");
            if (!choice) return;
            choice.selectedIndex = 0;
            choice.disabled = button !== first;
        });
    }

    window.addEventListener("resize", measure);
    window.readingViewer = {
        run: (name) => commands[name](),
        refit: measure, // after what stands above the picture has grown or shrunk
        size: () => size,
        scale: () => view.scale,
        view: () => ({ ...view }),
        follow: (drawn) => { followers.push(drawn); if (size.width) drawn(view.scale); },
        // A point of the screen in pixels of the picture.
        toPicture: (event) => {
            const at = within(event);
            return { x: (at.x - view.x) / view.scale, y: (at.y - view.y) / view.scale };
        },
        // What is in the middle of the stage, in pixels of the picture, and how wide that is.
        middle: () => ({
            x: (stage.clientWidth / 2 - view.x) / view.scale,
            y: (stage.clientHeight / 2 - view.y) / view.scale,
            width: stage.clientWidth / view.scale,
        }),
    };
    if (picture.complete) begin();
    else picture.addEventListener("load", begin, { once: true });
})();
