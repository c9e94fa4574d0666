/* Browsers start no worker from a page that is opened as a file, and search is one: there an iframe does its work. */
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      const inside = frame.contentWindow
      const load = source => `<script src="${source}"><\/script>`
      inside.document.open()
      inside.document.write(
        "<script>" +
          "postMessage = message => parent.postMessage(message, '*');" +
          "importScripts = (...urls) => Promise.all(urls.map(url => new Promise(done => {" +
          "const script = document.createElement('script'); script.src = url; script.onload = done;" +
          "document.body.appendChild(script)})))" +
          "<\/script>" + load(url)
      )
      inside.document.close()
      window.addEventListener("message", event => {
        if (event.source !== inside) return
        const message = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(message)
        if (this.onmessage) this.onmessage(message)
      })
      this.inside = new Promise(done => (frame.onload = () => done(inside)))
    }

    postMessage(data) {
      this.inside.then(inside => inside.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {}
  }
