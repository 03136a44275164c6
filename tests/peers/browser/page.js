// Runs in the browser. What happens is told by tell(event, detail); browser.mjs calls the functions of window.phone.
import JsSIP from 'jssip';

const tell = (event, detail = {}) => console.log('EVENT ' + JSON.stringify({ event, ...detail }));
let agent = null;
let session = null;

// Chromium decodes only what somebody listens to.
function listen(connection) {
  connection.addEventListener('track', e => {
    const player = new Audio();
    player.srcObject = e.streams[0] || new MediaStream([e.track]);
    player.play();
  });
}

function follow(each) {
  session = each;
  if (each.connection) listen(each.connection);
  else each.on('peerconnection', e => listen(e.peerconnection));
  for (const name of ['progress', 'accepted', 'confirmed', 'ended', 'failed'])
    each.on(name, e => tell(name, { cause: e && e.cause, status: e && e.message && e.message.status_code }));
}

window.phone = {
  // {url, user, password, realm, push: parameters of the Contact, expires}
  start(options) {
    agent = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(options.url)],
      uri: `sip:${options.user}@${options.realm}`,
      password: options.password,
      register_expires: options.expires || 120,
      session_timers: false,
      connection_recovery_min_interval: 1,
    });
    if (options.push) agent.registrator().setExtraContactParams(options.push);
    agent.on('connected', () => tell('connected'));
    agent.on('disconnected', e => tell('disconnected', { code: e.code, reason: e.reason }));
    agent.on('registered', e => tell('registered', { contact: e.response.getHeader('Contact'), caps: e.response.getHeader('Feature-Caps') }));
    agent.on('registrationFailed', e => tell('registrationFailed', { cause: e.cause }));
    agent.on('unregistered', () => tell('unregistered'));
    agent.on('newMessage', e => { if (e.originator === 'remote') tell('message', { body: e.request.body, from: String(e.request.from.uri) }); });
    agent.on('newRTCSession', e => {
      follow(e.session);
      if (e.originator === 'remote') tell('incoming', { from: String(e.request.from.uri), uri: String(e.request.ruri), body: e.request.body });
    });
    agent.start();
  },
  message(to, text) {
    agent.sendMessage(to, text, { eventHandlers: {
      succeeded: e => tell('messageSent', { status: e.response.status_code }),
      failed: e => tell('messageFailed', { status: e.response && e.response.status_code, cause: e.cause }),
    } });
  },
  call(to, video = false) {
    agent.call(to, { mediaConstraints: { audio: true, video }, pcConfig: { iceServers: [], bundlePolicy: video ? 'max-bundle' : 'balanced' } });
  },
  answer(video = false) {
    session.answer({ mediaConstraints: { audio: true, video }, pcConfig: { iceServers: [] } });
  },
  refuse(status) {
    session.terminate({ status_code: status });
  },
  hangUp() {
    session.terminate();
  },
  hold(on) {
    session[on ? 'hold' : 'unhold']({}, () => tell('held', { on }));
  },
  // What the media engine counted so far.
  async media() {
    const found = {};
    (await session.connection.getStats()).forEach(each => {
      if (each.type === 'inbound-rtp' && each.kind === 'video') found.pictures = each.framesDecoded;
      else if (each.type === 'inbound-rtp') Object.assign(found, { received: each.packetsReceived, lost: each.packetsLost, energy: each.totalAudioEnergy });
      if (each.type === 'outbound-rtp' && each.kind === 'audio') found.sent = each.packetsSent;
      if (each.type === 'transport') Object.assign(found, { srtp: each.srtpCipher, dtls: each.dtlsState, role: each.dtlsRole });
    });
    tell('media', found);
  },
  stop() {
    agent.stop();
  },
  // A service worker, through which pushes come; whether the browser gets a subscription (it asks its maker's service).
  async worker(key) {
    navigator.serviceWorker.onmessage = e => tell('pushed', { told: e.data });
    const registered = await navigator.serviceWorker.register('/worker.js');
    await navigator.serviceWorker.ready;
    tell('worker');
    if (!key) return;
    const raw = Uint8Array.from(atob(key.replace(/-/g, '+').replace(/_/g, '/')), each => each.charCodeAt(0));
    const late = new Promise(done => setTimeout(done, 3000, 'silence'));
    const asked = registered.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: raw });
    tell('subscription', { found: await Promise.race([asked.then(each => each.toJSON(), String), late]) });
  },
  // A bare WebSocket: whether it opens, and with which subprotocol.
  probe(url, protocols) {
    const socket = new WebSocket(url, protocols);
    socket.onopen = () => { tell('opened', { protocol: socket.protocol }); socket.close(); };
    socket.onerror = () => tell('refused', {});
  },
};
tell('ready');
