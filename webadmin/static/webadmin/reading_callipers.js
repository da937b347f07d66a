// Callipers: two handles on the picture; between them milliseconds and millivolts of the paper.
"use strict";

(() => {
    const viewer = window.readingViewer;
    const svg = document.getElementById("reading-callipers");
    const panel = document.getElementById("reading-measure");
    const toggle = document.getElementById("reading-measure-toggle");
    const result = document.getElementById("reading-result");
    const said = document.getElementById("reading-calibration");
    const speed = document.getElementById("reading-speed");
    const gain = document.getElementById("reading-gain");
    const texts = panel.dataset;
    const SQUARE_MM = 5;
    const LEAST_PX = 6; // less than this, one pixel more or less is too much
    const HANDLE_PX = 22; // so that a finger meets it
    const DOT_PX = 6;
    const SPACE = "http://www.w3.org/2000/svg";

    let ends = null;
    let perMm = null; // pixels of the picture, across and down

    function make(name, className) {
        const made = document.createElementNS(SPACE, name);
        made.setAttribute("class", className);
        svg.append(made);
        return made;
    }

    const box = make("path", "calliper-box");
    const line = make("path", "calliper-line");
    const handles = [texts.textStart, texts.textEnd].map((label, index) => {
        const reach = make("circle", "calliper-reach");
        const dot = make("circle", "calliper-dot");
        reach.setAttribute("tabindex", "0");
        reach.setAttribute("role", "button");
        reach.setAttribute("aria-label", label);
        reach.addEventListener("pointerdown", (event) => {
            event.stopPropagation();
            event.preventDefault();
            reach.focus();
            reach.setPointerCapture(event.pointerId);
        });
        reach.addEventListener("pointermove", (event) => {
            if (reach.hasPointerCapture(event.pointerId)) move(index, viewer.toPicture(event));
        });
        reach.addEventListener("keydown", (event) => {
            const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
            if (!step) return;
            event.preventDefault();
            event.stopPropagation();
            const many = event.shiftKey ? 10 : 1;
            move(index, { x: ends[index].x + step[0] * many, y: ends[index].y + step[1] * many });
        });
        return { reach, dot };
    });

    function move(index, at) {
        const { width, height } = viewer.size();
        ends[index] = { x: Math.min(width, Math.max(0, at.x)), y: Math.min(height, Math.max(0, at.y)) };
        draw();
    }

    function draw() {
        if (!ends) return;
        const scale = viewer.scale();
        const [a, b] = ends;
        box.setAttribute("d", `M${a.x} ${a.y}H${b.x}V${b.y}H${a.x}Z`);
        line.setAttribute("d", `M${a.x} ${a.y}L${b.x} ${b.y}`);
        handles.forEach(({ reach, dot }, index) => {
            for (const [circle, radius] of [[reach, HANDLE_PX], [dot, DOT_PX]]) {
                circle.setAttribute("cx", ends[index].x);
                circle.setAttribute("cy", ends[index].y);
                circle.setAttribute("r", radius / scale);
            }
        });
        tell();
    }

    function tell() {
        const across = Math.abs(ends[1].x - ends[0].x);
        const down = Math.abs(ends[1].y - ends[0].y);
        if (!perMm) {
            result.textContent = "– ms · – mV";
            said.textContent = texts.textUnknown;
            return;
        }
        const ms = (1000 * across) / perMm.x / Number(speed.value);
        const mv = down / perMm.y / Number(gain.value);
        const rate = ms >= 150 ? ` · ${Math.round(60000 / ms)}/min` : "";
        result.textContent = `${Math.round(ms)} ms${rate} · ${mv.toFixed(2)} mV`;
        said.textContent = `${perMm.source} ${texts.textAssumed}`;
    }

    function begin() {
        const { width, height } = viewer.size();
        svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
        if (!perMm && texts.acrossMm) {
            const source = `${texts.textKnown[0].toUpperCase()}${texts.textKnown.slice(1)}.`;
            perMm = { x: width / Number(texts.acrossMm), y: height / Number(texts.downMm), source };
        }
        const middle = viewer.middle();
        const reach = middle.width / 8;
        ends = [
            { x: middle.x - reach, y: middle.y - reach / 2 },
            { x: middle.x + reach, y: middle.y + reach / 2 },
        ];
    }

    function show(isOn) {
        if (!viewer.size().width) return;
        svg.toggleAttribute("hidden", !isOn);
        panel.hidden = !isOn;
        toggle.setAttribute("aria-pressed", String(isOn));
        viewer.refit();
        if (!isOn) return;
        begin();
        draw();
        handles[0].reach.focus({ preventScroll: true });
    }

    document.getElementById("reading-calibrate").addEventListener("click", () => {
        const across = Math.abs(ends[1].x - ends[0].x);
        const down = Math.abs(ends[1].y - ends[0].y);
        if (Math.max(across, down) < LEAST_PX) {
            said.textContent = texts.textSmall;
            return;
        }
        // Dragged along one side of the square only: the other side is as long.
        const x = across < LEAST_PX ? down : across;
        const y = down < LEAST_PX ? across : down;
        perMm = { x: x / SQUARE_MM, y: y / SQUARE_MM, source: texts.textDragged };
        tell();
    });
    for (const choice of [speed, gain]) choice.addEventListener("change", tell);
    toggle.addEventListener("click", () => window.readingCallipers.toggle());
    viewer.follow(draw);
    window.readingCallipers = { toggle: () => show(panel.hidden) };
})();
