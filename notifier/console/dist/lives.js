import { byId, clock, getJson, make, say, span } from "./dom.js";
const STEPS = ["RECEIVED", "QUEUED", "PROCESSING", "SUCCEEDED"];
const SHOWN = 10;
const KEPT = 500;
const LOOK_MS = 200;
const LOOK_MS_MAX = 2_000;
export class Lives {
    open;
    list = byId("lives");
    note = byId("lives-note");
    lives = [];
    arrived = new Map();
    wake = () => undefined;
    constructor(open) {
        this.open = open;
        void this.run();
    }
    follow(receipt, type, sentAt) {
        const known = this.lives.findIndex((life) => life.receipt === receipt);
        if (known >= 0)
            this.lives.splice(known, 1)[0]?.row.remove();
        const head = make("summary");
        const body = make("div", { class: "life" });
        const details = make("details", { open: "" }, head, body);
        const life = { receipt, type, sentAt, told: null, trouble: "", row: make("li", {}, details), head, body };
        for (const other of this.list.querySelectorAll("details"))
            other.open = false;
        this.lives.unshift(life);
        this.list.prepend(life.row);
        for (const old of this.lives.splice(SHOWN))
            old.row.remove();
        byId("lives-hint").hidden = true;
        this.draw(life);
        this.wake();
    }
    take(result) {
        if (!result.cause || this.arrived.has(result.cause))
            return;
        this.arrived.set(result.cause, performance.now());
        if (this.arrived.size > KEPT)
            this.arrived.delete(this.arrived.keys().next().value);
        const life = this.lives.find((life) => life.told?.event_key === result.cause);
        if (!life)
            return;
        this.draw(life);
        this.wake();
    }
    async run() {
        let pause = LOOK_MS;
        for (;;) {
            const open = this.lives.filter((life) => !settled(life));
            let changed = false;
            for (const life of open)
                changed = (await this.look(life)) || changed;
            pause = changed ? LOOK_MS : Math.min(LOOK_MS_MAX, pause * 2);
            await new Promise((done) => {
                this.wake = () => {
                    pause = LOOK_MS;
                    done();
                };
                if (this.lives.some((life) => !settled(life)))
                    setTimeout(done, pause);
            });
        }
    }
    async look(life) {
        const before = life.told?.state;
        try {
            life.told = await getJson(`/v1/events/${encodeURIComponent(life.receipt)}`);
        }
        catch (error) {
            life.trouble = error instanceof Error ? error.message : String(error);
        }
        this.draw(life);
        if (settled(life))
            say(this.note, life.trouble || `${life.told.channel} ${words(life.told.state)}${after(life.told)}`);
        return life.told?.state !== before;
    }
    draw(life) {
        const told = life.told;
        const state = told?.state ?? (life.trouble ? "UNKNOWN" : "ASKING");
        life.row.className = state.startsWith("FAILED") || life.trouble ? "bad" : state === "SUCCEEDED" ? "good" : "";
        const begun = told?.history[0]?.at;
        life.head.replaceChildren(make("time", { datetime: begun ?? "" }, begun ? clock(begun) : "–"), make("b", {}, told?.channel ?? "…"), make("span", { class: "type" }, life.type), make("span", { class: "chip" }, `${words(state)}${told ? after(told) : ""}`));
        life.body.replaceChildren(...(life.trouble ? [make("p", { class: "note bad" }, life.trouble)] : told ? this.full(life, told) : []));
    }
    full(life, told) {
        const channel = make("button", { type: "button", class: "channel" }, told.channel);
        channel.addEventListener("click", () => this.open(told.channel));
        const arrival = this.arrived.get(told.event_key);
        const seen = arrival === undefined ? "–" : life.sentAt && arrival >= life.sentAt ? `${span(arrival - life.sentAt)} after the click` : "seen";
        const outcome = `${told.outcome ?? "–"}${told.code ? ` (${told.code})` : ""}${told.reason ? `: ${told.reason}` : ""}`;
        const products = told.products.map((product) => make("dd", {}, make("b", {}, product.type ?? product.kind), ` ${product.stream}/${product.subject}${product.seq ? ` #${product.seq}` : ""}`));
        return [
            steps(told),
            make("dl", {}, make("dt", {}, "Channel"), make("dd", {}, channel), make("dt", {}, "Outcome"), make("dd", {}, outcome), make("dt", {}, "Attempts"), make("dd", {}, told.attempts), make("dt", {}, "On this page"), make("dd", {}, seen), ...(products.length ? [make("dt", {}, "Told"), ...products] : [])),
        ];
    }
}
const settled = (life) => Boolean(life.trouble) || ["SUCCEEDED", "FAILED_TERMINAL"].includes(life.told?.state);
const words = (state) => state.replace("_", " ").toLowerCase();
function after(told) {
    const first = told.history[0]?.at, last = told.history[told.history.length - 1]?.at;
    return told.history.length > 1 ? `, ${span(Math.max(0, new Date(last).getTime() - new Date(first).getTime()))}` : "";
}
function steps(told) {
    const times = new Map(told.history.map((step) => [step.state, step.at]));
    const failed = told.state.startsWith("FAILED");
    const states = failed ? [...STEPS.slice(0, 3), told.state] : STEPS;
    const begun = new Date(times.get("RECEIVED") ?? told.history[0]?.at ?? 0).getTime();
    const reached = states.indexOf(told.state);
    return make("ol", { class: "steps", "aria-label": "Lifecycle" }, ...states.map((state, i) => {
        const at = times.get(state);
        const done = at !== undefined || i <= reached;
        const later = at ? `+${span(Math.max(0, new Date(at).getTime() - begun))}` : done ? "" : "…";
        return make("li", { class: `${done ? "done" : "open"}${failed && i === 3 ? " failed" : ""}` }, make("b", {}, words(state)), make("time", { datetime: at ?? "", title: at ?? "" }, at ? clock(at) : "–"), make("span", {}, later));
    }));
}
