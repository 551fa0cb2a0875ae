import { DELAYED } from "./airports.js";
import { byId, clock, make, say } from "./dom.js";
const SHOWN = 40;
export class Feed {
    open;
    list = byId("feed-list");
    button = byId("feed-pause");
    waiting = [];
    paused = false;
    constructor(open) {
        this.open = open;
        this.button.addEventListener("click", () => {
            this.paused = !this.paused;
            this.button.setAttribute("aria-pressed", String(this.paused));
            say(this.button, this.paused ? "Resume" : "Pause");
        });
    }
    take(result) {
        this.waiting.push(result);
        if (this.waiting.length > SHOWN)
            this.waiting.shift();
    }
    draw() {
        if (this.paused || !this.waiting.length)
            return;
        const fresh = this.waiting.reverse().map((result) => this.item(result));
        this.waiting = [];
        this.list.prepend(...fresh);
        while (this.list.childElementCount > SHOWN)
            this.list.lastElementChild?.remove();
    }
    item(result) {
        const channel = make("button", { type: "button", class: "channel" }, result.ch);
        channel.addEventListener("click", () => this.open(result.ch));
        const [kind, words] = describe(result);
        return make("li", { class: kind }, make("time", { datetime: result.time ?? "" }, clock(result.time).slice(0, 8)), channel, make("span", { class: "words" }, words), make("span", { class: "seq", title: "seq of the channel" }, result.seq === undefined ? "" : `#${result.seq}`));
    }
}
function describe(result) {
    if (result.bad)
        return ["late", `${result.type ?? "result"}: ${result.bad}`];
    const data = result.data ?? {};
    switch (result.type) {
        case "flight.recorded": {
            const delay = Number(data.delay_minutes);
            const words = delay > 0 ? `${delay} min late` : delay < 0 ? `${-delay} min early` : "on time";
            return [delay >= DELAYED ? "late" : "fine", `→ ${data.destination}  ${words}`];
        }
        case "airport.delayed":
            return ["alarm", `delayed: last 20 on average ${Number(data.mean_delay_minutes).toFixed(1)} min`];
        case "airport.recovered":
            return ["calm", `recovered: last 20 on average ${Number(data.mean_delay_minutes).toFixed(1)} min`];
        default:
            return ["fine", result.type ?? "result"];
    }
}
