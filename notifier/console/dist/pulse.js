import { byId, compact, count, decimal, getJson, line, make, say, span, svg } from "./dom.js";
export class Pulse {
    parts;
    body = byId("pipeline-body");
    before = new Map();
    constructor(parts) {
        this.parts = parts;
        void this.run();
    }
    async run() {
        for (;;) {
            try {
                if (!document.hidden)
                    this.draw(await getJson("/v1/pulse"));
            }
            catch {
                this.parts(false, "the server does not answer");
            }
            await new Promise((done) => setTimeout(done, 1_000));
        }
    }
    draw(pulse) {
        let inputs = 0, results = 0, total = 0;
        const commit = [];
        const rows = pulse.streams.map((stream) => {
            const rate = this.rate(stream.stream, stream.inputs_total ?? stream.accepted_total ?? null);
            inputs += rate ?? stream.results_per_second;
            results += stream.results_per_second;
            total += stream.results_total;
            if (stream.commit_to_socket_ms.p50 !== null)
                commit.push(stream.commit_to_socket_ms.p50);
            return row(stream, rate);
        });
        this.body.replaceChildren(...rows);
        say(byId("kpi-in"), compact(inputs));
        say(byId("kpi-out"), compact(results));
        say(byId("kpi-total"), compact(total));
        say(byId("kpi-latency"), commit.length ? span(Math.max(...commit)) : "–");
        say(byId("node"), [
            `${count(pulse.connections.websocket)} WebSocket`, `${count(pulse.connections.sse)} SSE`,
            `${compact(pulse.deliveries_per_second)} deliveries/s`, `${(pulse.ring_bytes / 1_048_576).toFixed(1)} MiB in memory`,
            `store: ${pulse.store}`, `up ${uptime(pulse.uptime_s)}`,
        ].join(" · "));
        const missing = pulse.components.filter((component) => !component.ready).map((component) => `${component.name}: ${component.detail}`);
        this.parts(pulse.ready, pulse.ready ? "all parts ready" : missing.join("; ") || "not ready");
    }
    rate(stream, inputs) {
        const now = performance.now();
        const before = this.before.get(stream);
        this.before.set(stream, { at: now, inputs });
        if (inputs === null || !before || before.inputs === null)
            return null;
        return Math.max(0, ((inputs - before.inputs) * 1_000) / (now - before.at));
    }
}
function row(stream, rate) {
    const number = (text) => make("td", { class: "number" }, text);
    const pair = (times) => (times.p50 === null ? "–" : `${span(times.p50)} / ${span(times.p99)}`);
    return make("tr", {}, make("th", { scope: "row" }, stream.stream, make("span", { class: "city" }, `${stream.partitions} partitions`)), number(rate === null ? "–" : decimal(rate)), number(decimal(stream.results_per_second)), make("td", {}, svg("svg", { viewBox: "0 0 120 24", class: "sparkline wide", role: "img", "aria-label": "results per second, last minute", preserveAspectRatio: "none" }, svg("polyline", { class: "spark", points: line(stream.history, 120, 24) }))), number(pair(stream.input_to_commit_ms)), number(pair(stream.commit_to_socket_ms)), number(count(stream.lag_records)), number(count(stream.dead_letters_total)));
}
function uptime(seconds) {
    const [h, m] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
    return h ? `${h} h ${m} min` : m ? `${m} min ${seconds % 60} s` : `${seconds} s`;
}
