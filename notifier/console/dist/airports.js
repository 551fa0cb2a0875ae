import { getJson } from "./dom.js";
import { PLACES } from "./places.js";
const RECENT = 20;
export const DELAYED = 15;
export const mean = (airport) => (airport.flights ? airport.sum / airport.flights : 0);
export const share = (airport) => (airport.flights ? airport.delayed / airport.flights : 0);
export const recentMean = (airport) => airport.recent.length ? airport.recent.reduce((sum, delay) => sum + delay, 0) / airport.recent.length : 0;
const known = new Map(PLACES.map(([code, name, city, state, x, y]) => [code, { name, city: `${city}, ${state}`, x, y }]));
export class Airports {
    all = new Map();
    changed = new Set();
    hit = new Set();
    waiting = [];
    mending = new Set();
    get(code) {
        let airport = this.all.get(code);
        if (!airport) {
            const place = known.get(code);
            airport = {
                code, name: place?.name ?? code, city: place?.city ?? "", x: place?.x ?? null, y: place?.y ?? null,
                seq: 0, flights: 0, sum: 0, delayed: 0, recent: [], alarm: false,
            };
            this.all.set(code, airport);
        }
        return airport;
    }
    async load() {
        this.waiting ??= [];
        try {
            let cursor = null;
            do {
                const page = await getJson(`/v1/views/flights?limit=1000${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
                for (const item of page.items)
                    this.put(item.channel, item.seq, item.rows);
                cursor = page.cursor;
            } while (cursor);
        }
        finally {
            const waiting = this.waiting ?? [];
            this.waiting = null;
            for (const result of waiting)
                this.take(result);
        }
    }
    take(result) {
        if (this.waiting) {
            this.waiting.push(result);
            return;
        }
        const code = result.ch.split("/")[1];
        if (!code || result.bad)
            return;
        const airport = this.get(code);
        const seq = result.seq ?? airport.seq + 1;
        if (seq <= airport.seq)
            return;
        if (seq > airport.seq + 1 && airport.seq > 0)
            void this.mend(code);
        airport.seq = seq;
        this.changed.add(airport);
        switch (result.type) {
            case "flight.recorded": {
                const delay = Number(result.data.delay_minutes);
                airport.flights = Number(result.data.flights);
                airport.sum = Number(result.data.delay_minutes_sum);
                if (delay >= DELAYED)
                    airport.delayed += 1;
                airport.recent.push(delay);
                if (airport.recent.length > RECENT)
                    airport.recent.shift();
                this.hit.add(airport);
                break;
            }
            case "airport.delayed":
                airport.alarm = true;
                break;
            case "airport.recovered":
                airport.alarm = false;
                break;
        }
    }
    put(channel, seq, rows) {
        const code = channel.split("/")[1];
        if (!code)
            return;
        const airport = this.get(code);
        if (seq < airport.seq)
            return;
        airport.seq = seq;
        for (const { sort, data } of rows) {
            if (sort === "") {
                airport.flights = Number(data.flights);
                airport.sum = Number(data.delay_minutes_sum);
                airport.delayed = Number(data.delayed_15);
            }
            else if (sort === "recent") {
                airport.recent = data.delays.map(Number);
                airport.alarm = Boolean(data.delayed);
            }
        }
        this.changed.add(airport);
    }
    async mend(code) {
        if (this.mending.has(code))
            return;
        this.mending.add(code);
        await new Promise((done) => setTimeout(done, 1_000));
        await getJson(`/v1/views/flights/${encodeURIComponent(code)}`)
            .then((view) => this.put(view.channel, view.seq, view.rows))
            .catch(() => undefined);
        this.mending.delete(code);
    }
}
