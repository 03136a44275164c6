// As page.js, with SIP.js in place of JsSIP: the functions and events that calls need.
import { Inviter, Registerer, RegistererState, SessionState, UserAgent } from 'sip.js';

const tell = (event, detail = {}) => console.log('EVENT ' + JSON.stringify({ event, ...detail }));
const media = { constraints: { audio: true, video: false } };
let agent = null;
let registerer = null;
let session = null;
let options = null;

// Chromium decodes only what somebody listens to.
function follow(each) {
  session = each;
  each.stateChange.addListener(state => {
    if (state === SessionState.Established) {
      const player = new Audio();
      player.srcObject = each.sessionDescriptionHandler.remoteMediaStream;
      player.play();
      tell('confirmed');
    } else if (state === SessionState.Terminated) tell('ended');
  });
}

window.phone = {
  // {url, user, password, realm}
  async start(given) {
    options = given;
    agent = new UserAgent({
      uri: UserAgent.makeURI(`sip:${given.user}@${given.realm}`),
      transportOptions: { server: given.url },
      authorizationUsername: given.user,
      authorizationPassword: given.password,
      sessionDescriptionHandlerFactoryOptions: { peerConnectionConfiguration: { iceServers: [] } },
      logBuiltinEnabled: false,
      delegate: {
        onInvite(invitation) {
          follow(invitation);
          tell('incoming', { from: String(invitation.remoteIdentity.uri) });
        },
      },
    });
    await agent.start();
    registerer = new Registerer(agent, { expires: 120 });
    registerer.stateChange.addListener(state => { if (state === RegistererState.Registered) tell('registered'); });
    await registerer.register();
  },
  async call(to) {
    const inviter = new Inviter(agent, UserAgent.makeURI(to), { sessionDescriptionHandlerOptions: media });
    follow(inviter);
    await inviter.invite();
  },
  async answer() {
    await session.accept({ sessionDescriptionHandlerOptions: media });
  },
  async hangUp() {
    await session.bye();
  },
  async hold(on) {
    session.sessionDescriptionHandlerOptionsReInvite = { hold: on };
    await session.invite({ requestDelegate: { onAccept: () => tell('held', { on }), onReject: () => tell('holdRefused') } });
  },
  async media() {
    const found = {};
    (await session.sessionDescriptionHandler.peerConnection.getStats()).forEach(each => {
      if (each.type === 'inbound-rtp') Object.assign(found, { received: each.packetsReceived, lost: each.packetsLost, energy: each.totalAudioEnergy });
      if (each.type === 'outbound-rtp' && each.kind === 'audio') found.sent = each.packetsSent;
      if (each.type === 'transport') Object.assign(found, { srtp: each.srtpCipher, dtls: each.dtlsState, role: each.dtlsRole });
    });
    tell('media', found);
  },
  async stop() {
    await registerer.unregister();
    await agent.stop();
  },
};
tell('ready');
