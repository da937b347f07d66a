// Add an ECG: ask whose it is, have it confirmed, send the files one by one, show what came of each.
"use strict";

(() => {
    const root = document.getElementById("upload");
    const form = document.getElementById("upload-patient");
    const found = document.getElementById("upload-found");
    const without = document.getElementById("upload-without");
    const list = document.getElementById("upload-files");
    const drop = document.getElementById("upload-drop");
    const go = document.getElementById("upload-go");
    const token = root.querySelector("[name=csrfmiddlewaretoken]").value;
    const maxBytes = Number(root.dataset.maxBytes);
    const ASK_MS = 400;
    const ASK_FOR_MS = 75_000;
    const LOOK_MS = [1000, 1000, 1000, 2000, 2000, 3000, 5000];
    const LOOK_FOR_MS = 300_000;

    let confirmed = null; // the order on whose card the person said yes
    let question = 0; // the last one asked; answers to earlier ones no longer count
    // A file belongs to the order that was confirmed when it was chosen, and goes up as that or not
    // at all.
    let waiting = []; // files of the confirmed order, chosen and not yet sent: { file, order, card }
    let late = []; // files whose sending failed and whose order is not confirmed any more

    const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
    const say = (text) => { document.getElementById("upload-spoken").textContent = text; };

    function element(tag, className, text) {
        const made = document.createElement(tag);
        made.className = className;
        made.textContent = text ?? "";
        return made;
    }

    async function post(url, body) {
        const answer = await fetch(url, {
            method: "POST",
            body,
            headers: { "X-CSRFToken": token },
            credentials: "same-origin",
        });
        return [answer.status, await read(answer)];
    }

    async function read(answer) {
        if (!(answer.headers.get("Content-Type") ?? "").includes("json")) {
            throw new Error("You are signed out, or may not do this. Load the page again.");
        }
        return answer.json();
    }

    // --- whose it is ---------------------------------------------------------------------------

    function forget() {
        question += 1;
        confirmed = null;
        for (const entry of waiting) {
            if (entry.wasSent) late.push(entry);
            else entry.card.remove();
        }
        waiting = [];
        refresh();
        found.replaceChildren();
        document.getElementById("upload-what").hidden = true;
        for (const fault of form.querySelectorAll(".upload-fault")) fault.remove();
        for (const input of form.elements) input.removeAttribute("aria-invalid");
    }

    function startOver() {
        forget();
        form.elements.patient_id.focus();
    }

    function problem(text, tone = "warn") {
        const box = element("p", `upload-refused desk-${tone}`, text);
        box.setAttribute("role", "alert");
        found.append(box);
    }

    function offer(order, count) {
        const card = element("div", "upload-order");
        card.innerHTML = order.html; // made by our own template, which escapes
        const button = element("button", "desk-button", "");
        button.type = "button";
        button.textContent = count > 1 ? "This one" : "Yes, this patient";
        button.addEventListener("click", () => choose(order, card, button), { once: true });
        card.append(button);
        found.append(card);
    }

    function choose(order, card, button) {
        confirmed = order;
        for (const other of found.querySelectorAll(".upload-order")) {
            if (other !== card) other.remove();
        }
        for (const box of found.querySelectorAll(".upload-refused")) box.remove();
        card.classList.add("upload-confirmed");
        button.textContent = "Another patient";
        button.classList.add("upload-plain");
        document.getElementById("upload-what").hidden = false;
        // The same patient and order, confirmed again: what could not be sent as that may go now.
        for (const entry of late.filter((one) => one.order.key === order.key)) {
            entry.order = order;
            waiting.push(entry);
        }
        late = late.filter((one) => one.order !== order);
        refresh();
        say("Patient confirmed. Choose the files.");
        button.addEventListener("click", startOver, { once: true });
    }

    function show(answer) {
        if (answer.problem) problem(answer.problem);
        for (const order of answer.orders) offer(order, answer.orders.length);
        const [first] = answer.orders;
        say(first ? "Look at the patient and confirm." : answer.problem);
    }

    async function ask() {
        forget();
        const mine = question;
        const body = new FormData(form);
        const button = document.getElementById("upload-ask");
        button.disabled = true;
        found.append(element("p", "desk-quiet-text", "Asking…"));
        try {
            let [status, answer] = await post(root.dataset.patientUrl, body);
            const until = Date.now() + ASK_FOR_MS;
            if (status === 202) {
                const name = new FormData();
                name.append("lookup", answer.lookup);
                while (status === 202 && mine === question && Date.now() < until) {
                    await sleep(ASK_MS);
                    [status, answer] = await post(root.dataset.foundUrl, name);
                }
            }
            if (mine !== question) return;
            found.replaceChildren();
            if (status === 202) {
                problem("The worklist did not answer in time. Ask again, or go on without it.");
            } else if (answer.faults) {
                blame(answer.faults);
            } else {
                show(answer);
            }
        } catch (error) {
            if (mine !== question) return;
            found.replaceChildren();
            problem(error instanceof TypeError ? "The gateway cannot be reached." : error.message, "bad");
        } finally {
            button.disabled = false;
        }
    }

    function blame(faults) {
        for (const [name, text] of Object.entries(faults)) {
            const input = form.elements[name];
            input.setAttribute("aria-invalid", "true");
            input.after(element("span", "upload-fault", text));
        }
        form.querySelector("[aria-invalid]")?.focus();
    }

    form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
    form.addEventListener("input", () => { if (confirmed || found.childElementCount) forget(); });
    without?.addEventListener("change", () => {
        document.getElementById("upload-typed").hidden = !without.checked;
        document.getElementById("upload-ask").lastChild.textContent = without.checked ? "Use this patient" : "Look up";
    });

    // --- the files -----------------------------------------------------------------------------

    function add(files) {
        const order = confirmed;
        if (order === null) return;
        for (const file of files) {
            const card = element("li", "upload-file");
            const picture = element("div", "upload-picture");
            const said = element("div", "upload-said");
            const head = element("div", "upload-head");
            const remove = element("button", "upload-remove material-symbols-outlined", "close");
            remove.type = "button";
            remove.setAttribute("aria-label", `Take ${file.name} away`);
            head.append(element("span", "upload-name", file.name), remove);
            const whose = element("div", "upload-whose", order.patient);
            const outcome = element("div", "upload-outcome", size(file.size));
            said.append(head, whose, outcome);
            card.append(picture, said);
            list.append(card);
            preview(file, picture);
            const entry = { file, order, card, outcome, remove, wasSent: false };
            remove.addEventListener("click", () => {
                waiting = waiting.filter((one) => one !== entry);
                late = late.filter((one) => one !== entry);
                card.remove();
                refresh();
            });
            if (file.size > maxBytes) {
                refuse(entry, `Expected at most ${size(maxBytes)}, received ${size(file.size)}.`);
            } else if (file.size === 0) {
                refuse(entry, "The file is empty.");
            } else {
                waiting.push(entry);
            }
        }
        refresh();
    }

    function size(bytes) {
        return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;
    }

    function preview(file, place) {
        const kind = (file.name.split(".").pop() ?? "file").toUpperCase().slice(0, 5);
        if (!["image/png", "image/jpeg", "image/bmp", "image/webp"].includes(file.type)) {
            place.textContent = kind;
            return;
        }
        const image = document.createElement("img");
        image.alt = "";
        image.src = URL.createObjectURL(file);
        image.addEventListener("error", () => { place.textContent = kind; });
        place.append(image);
    }

    function refresh() {
        document.getElementById("upload-send").hidden = waiting.length === 0;
        document.getElementById("upload-go-text").textContent =
            waiting.length === 1 ? "Add this ECG" : `Add ${waiting.length} ECGs`;
    }

    function refuse(entry, reason) {
        const box = element("p", "upload-refused desk-bad", reason);
        box.setAttribute("role", "alert");
        entry.outcome.replaceChildren(box);
        say(`${entry.file.name}: ${reason}`);
    }

    // fetch() tells nothing of how much of a body is sent; XMLHttpRequest does.
    function send(entry) {
        return new Promise((done) => {
            const bar = document.createElement("progress");
            bar.max = 1;
            bar.value = 0;
            bar.setAttribute("aria-label", `Sending ${entry.file.name}`);
            entry.outcome.replaceChildren(bar);
            entry.remove.hidden = true;
            const request = new XMLHttpRequest();
            request.open("POST", root.dataset.fileUrl);
            request.setRequestHeader("X-CSRFToken", token);
            request.setRequestHeader("X-Order-Ticket", entry.order.ticket);
            request.setRequestHeader("Content-Type", "application/octet-stream");
            request.responseType = "json";
            request.upload.addEventListener("progress", (event) => {
                if (event.lengthComputable) bar.value = event.loaded / event.total;
            });
            request.upload.addEventListener("load", () => bar.removeAttribute("value"));
            request.addEventListener("error", () => done([0, { reason: "The gateway cannot be reached. Try again." }]));
            request.addEventListener("load", () => done([request.status, request.response]));
            request.send(entry.file);
        });
    }

    async function sendAll() {
        const batch = waiting;
        waiting = [];
        refresh();
        for (const entry of batch) {
            const [status, answer] = await send(entry);
            if (status === 200 || status === 201) {
                follow(entry, answer);
                continue;
            }
            refuse(entry, answer?.reason ?? "It was not taken. Load the page again, and sign in if need be.");
            entry.remove.hidden = false;
            entry.wasSent = true;
            if (status !== 0 && status !== 403 && status !== 503) continue; // it would be refused again
            const isExpired = status === 403 && entry.order === confirmed;
            if (entry.order.key === confirmed?.key && !isExpired) {
                entry.order = confirmed;
                waiting.push(entry);
            } else {
                late.push(entry);
            }
        }
        refresh();
    }

    async function follow(entry, kept) {
        const until = Date.now() + LOOK_FOR_MS;
        let last = "";
        for (let round = 0; Date.now() < until; round += 1) {
            try {
                const answer = await fetch(kept.result, { credentials: "same-origin" });
                const { html, is_final: isFinal } = await read(answer);
                if (html !== last) {
                    entry.outcome.innerHTML = html; // made by our own template, which escapes
                    if (!kept.is_new) {
                        entry.outcome.prepend(element("p", "desk-quiet-text", "It was here already."));
                    }
                    last = html;
                    say(`${entry.file.name}: ${entry.outcome.querySelector(".upload-state").textContent}`);
                }
                if (isFinal) return;
            } catch (error) {
                if (!(error instanceof TypeError)) {
                    refuse(entry, error.message);
                    return;
                }
            }
            await sleep(LOOK_MS[Math.min(round, LOOK_MS.length - 1)]);
        }
        entry.outcome.append(element("p", "desk-quiet-text", "It is safe and still waits its turn; its page shows the result later."));
    }

    for (const id of ["upload-choose", "upload-photo"]) {
        const input = document.getElementById(id);
        // Unfold writes the name of a chosen file into a text field beside it; there is none here.
        input.hasChangeListener = true;
        input.addEventListener("change", () => {
            add(input.files);
            input.value = "";
        });
    }
    for (const kind of ["dragenter", "dragover"]) {
        drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("upload-over"); });
    }
    for (const kind of ["dragleave", "drop"]) {
        drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove("upload-over"); });
    }
    drop.addEventListener("drop", (event) => add(event.dataTransfer.files));
    // A file dropped beside the place would replace the page, and what was chosen with it.
    for (const kind of ["dragover", "drop"]) {
        document.addEventListener(kind, (event) => event.preventDefault());
    }
    go.addEventListener("click", sendAll);
})();
