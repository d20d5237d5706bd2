// Browsers start no worker for a page that was opened from a disk. There, and only there, the search runs in a hidden
// frame with a worker's face.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      this.onmessage = null
      this.ready = new Promise(resolve => {
        frame.onload = () => {
          const inside = frame.contentWindow
          inside.postMessage = data => {
            const event = new MessageEvent("message", { data })
            this.dispatchEvent(event)
            if (this.onmessage) this.onmessage(event)
          }
          const script = inside.document.createElement("script")
          script.onload = () => resolve(inside)
          script.src = new URL(url, document.baseURI)
          inside.document.body.append(script)
        }
      })
      this.frame = frame
      document.body.append(frame)
    }

    postMessage(data) {
      this.ready.then(inside => inside.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }
}
