// Reading by keys: judge, go on, look closer; and where the network looked, drawn on demand.
"use strict";

(() => {
    const root = document.getElementById("reading");
    const form = document.getElementById("reading-form");
    const toggles = document.getElementById("reading-override");
    const open = document.getElementById("reading-override-open");
    const save = document.getElementById("reading-save");
    const help = document.getElementById("reading-help");
    const keysOn = document.getElementById("reading-keys-on");
    const began = performance.now();
    const KEYS_OFF = "reading-keys-off";
    const byId = (id) => document.getElementById(id);

    // --- judging -------------------------------------------------------------------------------

    let isSent = false;
    form.addEventListener("submit", (event) => {
        // A second click would be a second reading.
        if (isSent) return event.preventDefault();
        isSent = true;
        form.elements.took_s.value = ((performance.now() - began) / 1000).toFixed(1);
        root.setAttribute("aria-busy", "true");
    });
    // A page that the browser kept may show what is not true any more.
    window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });

    const isOverriding = () => Boolean(toggles && !toggles.hidden);

    function override(isOn) {
        if (!open) return;
        toggles.hidden = !isOn;
        // What is hidden must not be what the browser sends at Enter.
        for (const [button, isIdle] of [[save, !isOn], [byId("reading-confirm"), isOn]]) {
            button.hidden = button.disabled = isIdle;
        }
        open.setAttribute("aria-expanded", String(isOn));
        window.readingViewer.refit();
        if (isOn) {
            toggles.querySelector("input:checked, input")?.focus({ preventScroll: true });
            lookAtBoth();
        } else {
            open.focus({ preventScroll: true });
        }
    }

    // The ten findings take room: the picture stands at the top of the window then.
    function lookAtBoth() {
        byId("reading-stage").scrollIntoView({ block: "start" });
    }

    function turn(row) {
        const inputs = [...row.querySelectorAll("input")];
        const chosen = inputs.find((input) => input.checked);
        // One press turns what the network said into its contrary: absent into present, too.
        row.dataset.first ??= chosen?.value ?? "";
        inputs.sort((a, b) => (b.value === row.dataset.first) - (a.value === row.dataset.first));
        const next = inputs[(inputs.indexOf(chosen) + 1) % inputs.length];
        next.checked = true;
        next.focus({ preventScroll: true });
        row.scrollIntoView({ block: "nearest" });
    }

    open?.addEventListener("click", () => override(toggles.hidden));
    byId("reading-rest")?.addEventListener("click", rest);

    function rest() {
        for (const row of toggles.querySelectorAll(".reading-toggle")) {
            if (!row.querySelector("input:checked")) row.querySelector("input[value=absent]").checked = true;
        }
        save.focus();
    }

    function press(id) {
        const button = byId(id);
        if (!button || button.hidden || button.disabled) return;
        if (button.type === "submit") form.requestSubmit(button);
        else button.click();
    }

    function follow(id) {
        const link = byId(id);
        if (link?.href) window.location.assign(link.href);
    }

    function back() {
        // What was just read stands in no list of unread ones any more, but in the history.
        const here = `${window.location.origin}${window.location.pathname.replace(/\d+\/$/, "")}`;
        if (new RegExp(`^${here}\\d+/`).test(document.referrer)) window.history.back();
        else follow("reading-previous");
    }

    byId("reading-previous")?.addEventListener("click", (event) => {
        event.preventDefault();
        back();
    });

    // --- keys ----------------------------------------------------------------------------------

    const keys = {
        c: () => press("reading-confirm"),
        o: () => open?.click(),
        u: () => press("reading-undecided"),
        x: () => press("reading-unreadable"),
        a: () => byId("reading-rest")?.click(),
        v: () => byId("reading-verify")?.click(),
        n: () => follow("reading-next"),
        j: () => follow("reading-next"),
        k: back,
        z: () => window.readingViewer.run("toggle"),
        "+": () => window.readingViewer.run("in"),
        "=": () => window.readingViewer.run("in"),
        "-": () => window.readingViewer.run("out"),
        0: () => window.readingViewer.run("fit"),
        m: () => window.readingCallipers.toggle(),
        h: nextMap,
        "?": () => help.showModal(),
    };

    function isTyping(target) {
        return target.matches("select, textarea, input:not([type=radio]):not([type=checkbox])");
    }

    // Enter in the comment saves what was changed; it never confirms by accident.
    form.elements.comment?.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        if (isOverriding()) press("reading-save");
        else byId("reading-confirm")?.focus();
    });

    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || help.open || isSent) return;
        if (event.key === "Escape" && open && isOverriding()) return override(false);
        if (!(event.target instanceof Element) || isTyping(event.target) || keysOn.checked === false) return;
        if (event.key === "Enter" && isOverriding() && !event.target.closest("button, a, summary")) {
            event.preventDefault();
            return press("reading-save");
        }
        const row = isOverriding() && toggles.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
        const act = row ? () => turn(row) : keys[event.key];
        if (!act) return;
        event.preventDefault();
        act();
    });

    try {
        keysOn.checked = window.localStorage.getItem(KEYS_OFF) === null;
        keysOn.addEventListener("change", () => {
            if (keysOn.checked) window.localStorage.removeItem(KEYS_OFF);
            else window.localStorage.setItem(KEYS_OFF, "1");
        });
    } catch { /* a browser that keeps nothing */ }
    byId("reading-help-open").addEventListener("click", () => help.showModal());

    // --- where the network looked ----------------------------------------------------------------

    const choice = byId("reading-map-key");
    const layer = byId("reading-map");
    const said = byId("reading-map-said");
    const ASK_MS = 700;
    const ASK_FOR_MS = 200_000;
    let asked = 0; // the last question; answers to earlier ones no longer count

    const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
    const ask = (url, method) => fetch(url, {
        method,
        credentials: "same-origin",
        headers: method === "POST" ? { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value } : {},
    });

    function tell(text) {
        said.textContent = text;
        said.hidden = !text;
        window.readingViewer.refit();
    }

    async function mapOf(url) {
        const mine = ++asked;
        const until = performance.now() + ASK_FOR_MS;
        let answer = await ask(url, "GET");
        if (answer.status !== 200) {
            tell(root.dataset.textDrawing);
            answer = await ask(url, "POST");
        }
        while (answer.status === 202 && mine === asked && performance.now() < until) {
            await sleep(ASK_MS);
            answer = await ask(url, "GET");
        }
        if (mine !== asked) return;
        if (answer.status === 200) {
            layer.src = url;
            layer.hidden = false;
            tell(root.dataset.textDrawn);
        } else if (answer.status === 202) {
            tell(root.dataset.textLate);
        } else {
            tell((await answer.json()).reason);
        }
    }

    choice?.addEventListener("change", () => {
        layer.hidden = true;
        tell("");
        asked += 1;
        const { url } = choice.selectedOptions[0].dataset;
        if (url) mapOf(url).catch(() => tell(root.dataset.textAway));
    });

    function nextMap() {
        if (!choice || choice.disabled) return;
        choice.selectedIndex = (choice.selectedIndex + 1) % choice.options.length;
        choice.dispatchEvent(new Event("change"));
    }

    if (isOverriding()) window.addEventListener("load", lookAtBoth, { once: true });

    // The next picture is here before it is asked for.
    if (root.dataset.nextPicture) {
        window.addEventListener("load", () => { new Image().src = root.dataset.nextPicture; }, { once: true });
    }
})();
