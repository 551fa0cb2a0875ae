export function byId(id) {
    const found = document.getElementById(id);
    if (!found)
        throw new Error(`the page has no #${id}`);
    return found;
}
export function make(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
        made.setAttribute(name, value);
    add(made, children);
    return made;
}
export function svg(tag, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes))
        made.setAttribute(name, String(value));
    add(made, children);
    return made;
}
function add(parent, children) {
    for (const child of children)
        if (child !== null && child !== undefined)
            parent.append(child instanceof Node ? child : String(child));
}
export function say(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "negative" });
export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const compact = (value) => value === null || value === undefined ? "–" : value < 10_000 ? whole.format(value) : short.format(value);
export const decimal = (value) => (value === null || value === undefined ? "–" : tenth.format(value));
export const span = (ms) => ms === null || ms === undefined ? "–" : ms < 999.5 ? `${whole.format(ms)} ms` : ms < 90_000 ? `${tenth.format(ms / 1000)} s` : `${whole.format(ms / 60_000)} min`;
export const clock = (time) => {
    const at = time ? new Date(time) : null;
    return at && !Number.isNaN(at.getTime()) ? `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}` : "–";
};
export function line(values, width, height) {
    if (values.length < 2)
        return "";
    const low = Math.min(0, ...values), high = Math.max(1, ...values);
    const step = width / (values.length - 1);
    return values.map((value, i) => `${(i * step).toFixed(1)},${(height - ((value - low) / (high - low)) * height).toFixed(1)}`).join(" ");
}
export async function getJson(path) {
    const answer = await fetch(path, { headers: { accept: "application/json" } });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok)
        throw new Error(body.detail ?? body.title ?? `HTTP ${answer.status}`);
    return body;
}
