// One WebSocket with one subscription: hello, sub, reconnect. A result is handed over once per (channel, seq) and in order.

export interface Result {
  ch: string
  seq?: number
  type?: string
  time?: string
  cause?: string
  bad?: string
  data: any
}

export type State = "connecting" | "live" | "behind" | "waiting"

export interface Handlers {
  /** A subscription began: what is known from before may have holes. */
  ready(): void
  result(result: Result): void
  state(state: State, detail: string): void
  /** Complete up to this time. */
  asOf(time: string): void
}

const SUBPROTOCOL = "forebay.v1.json"

export function connect(patterns: string[], on: Handlers): void {
  const last = new Map<string, number>()
  let tries = 0

  const open = (): void => {
    on.state("connecting", "connecting")
    const address = new URL("/v1/ws", location.href)
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:"
    const socket = new WebSocket(address, SUBPROTOCOL)
    let silence = 0
    let window: [number, number] | null = null
    const hear = (): void => {
      clearTimeout(silence)
      silence = setTimeout(() => socket.close(), 70_000)
    }
    const subscribe = (): void => socket.send(JSON.stringify({ op: "sub", id: 1, ch: patterns, since: "now", on_gap: "live" }))

    socket.onopen = () => {
      hear()
      socket.send(JSON.stringify({ op: "hello", sdk: "console/1", heartbeat_s: 5 }))
      subscribe()
    }
    socket.onmessage = (event) => {
      hear()
      const message = JSON.parse(event.data)
      switch (message.op) {
        case "ready":
          tries = 0
          last.clear()
          on.state("live", "live")
          on.ready()
          break
        case "result":
          if (message.seq !== undefined) {
            if (message.seq <= (last.get(message.ch) ?? 0)) return
            last.set(message.ch, message.seq)
          }
          on.result(message)
          break
        case "pos":
          if (message.asof) on.asOf(message.asof)
          break
        case "lag":
          if (message.state === "live") on.state("live", "live")
          else on.state("behind", `${(message.behind_ms / 1000).toFixed(0)} s behind`)
          break
        case "gap":
          on.ready()
          break
        case "err":
          if (message.retry) setTimeout(() => socket.readyState === WebSocket.OPEN && subscribe(), message.after_ms)
          on.state("waiting", message.text)
          break
        case "bye":
          window = [message.min_ms, message.max_ms]
          break
      }
    }
    socket.onclose = () => {
      clearTimeout(silence)
      const [low, high] = window ?? [0, Math.min(30_000, 500 * 2 ** tries++)]
      on.state("connecting", "reconnecting")
      setTimeout(open, low + Math.random() * (high - low) + 200)
    }
  }
  open()
}
