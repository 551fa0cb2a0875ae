// The console: wires the parts together and draws at most four times a second, however fast results come.

import { Airports } from "./airports.js"
import { byId, clock, getJson, say } from "./dom.js"
import { EventPanel } from "./event.js"
import { Feed } from "./feed.js"
import { connect, type State } from "./live.js"
import { Lives } from "./lives.js"
import { Map } from "./map.js"
import { Pulse } from "./pulse.js"
import { Table } from "./table.js"

const DRAW_MS = 250
const ORDER_MS = 3_000

const airports = new Airports()
const table = new Table(airports, show)
const map = new Map((code) => {
  table.find(code)
  byId("airports").scrollIntoView({ block: "nearest" })
})
const feed = new Feed(show)
const lives = new Lives(show)
new EventPanel(lives)

let pipelineReady = false
let pipelineWords = "starting"
let liveState: State = "connecting"
let liveWords = "connecting"

/** One word for the whole: it is only live if this page is. */
function state(): void {
  const pill = byId("state")
  const good = liveState === "live" && pipelineReady
  pill.dataset["state"] = good ? "live" : liveState === "live" ? "behind" : liveState
  say(byId("state-words"), good ? "live" : liveState === "live" ? pipelineWords : liveWords)
}

new Pulse((ready, words) => {
  [pipelineReady, pipelineWords] = [ready, words]
  state()
})

connect(["flights/*"], {
  ready: () => void airports.load().then(() => say(byId("views-note"), ""), (error: Error) => say(byId("views-note"), `from now on only: ${error.message}`)),
  result: (result) => {
    airports.take(result)
    feed.take(result)
    lives.take(result)
  },
  state: (next, words) => {
    [liveState, liveWords] = [next, words]
    state()
  },
  asOf: (time) => say(byId("as-of"), `complete to ${clock(time).slice(0, 8)}`),
})

setInterval(() => {
  if (document.hidden) return
  table.draw()
  map.draw(airports)
  feed.draw()
  airports.changed.clear()
  airports.hit.clear()
}, DRAW_MS)
setInterval(() => {
  if (!document.hidden && !byId("airports").contains(document.activeElement)) table.order()
}, ORDER_MS)

/** The view of a channel, as it is. */
function show(channel: string): void {
  const [stream, ...subject] = channel.split("/")
  const path = `/v1/views/${encodeURIComponent(stream ?? "")}/${encodeURIComponent(subject.join("/"))}`
  const dialog = byId<HTMLDialogElement>("view")
  say(byId("view-title"), channel)
  say(byId("view-path"), `GET ${path}`)
  say(byId("view-body"), "…")
  dialog.showModal()
  getJson(path).then((view) => say(byId("view-body"), JSON.stringify(view, null, 2)), (error: Error) => say(byId("view-body"), error.message))
}
byId("view-close").addEventListener("click", () => byId<HTMLDialogElement>("view").close())

const theme = byId<HTMLButtonElement>("theme")
const dark = (): boolean => {
  const asked = document.documentElement.dataset["theme"]
  return asked ? asked === "dark" : matchMedia("(prefers-color-scheme: dark)").matches
}
function turn(to: string | null): void {
  if (to) document.documentElement.dataset["theme"] = to
  theme.setAttribute("aria-pressed", String(dark()))
}
turn(localStorage.getItem("theme"))
theme.addEventListener("click", () => {
  const next = dark() ? "light" : "dark"
  localStorage.setItem("theme", next)
  turn(next)
})
