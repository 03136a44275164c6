// The relay's fast path: RTP of known parties, rewritten and sent on at the TC ingress of an Ethernet interface.
//
// A flow is named by the local address and port at which a party's packets arrive. What is not exactly what the flow
// expects goes on its way as if this program were not there, which is to the relay's socket. `make bpf` compiles it;
// layout.py has the same structures in Python.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define ORDER16(x) __builtin_bswap16(x)
#define ORDER32(x) __builtin_bswap32(x)

// Kernel functions by their number (linux/bpf.h).
static void *(*const map_lookup)(const void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const monotonic)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*const store)(struct __sk_buff *, __u32 at, const void *, __u32 size, __u64) =
    (void *)BPF_FUNC_skb_store_bytes;
static long (*const replace_l4)(struct __sk_buff *, __u32 at, __u64 from, __u64 to, __u64) =
    (void *)BPF_FUNC_l4_csum_replace;
static long (*const pull)(struct __sk_buff *, __u32 size) = (void *)BPF_FUNC_skb_pull_data;
static long (*const send_neighbour)(__u32 ifindex, struct bpf_redir_neigh *, int size, __u64) =
    (void *)BPF_FUNC_redirect_neigh;

#define PASS TC_ACT_UNSPEC  // to the next program, in the end to the socket
#define TRAFFIC_CLASS 0x0ff00000
#define MAX_DROPOUT 3000  // RFC 3550 A.1, as in rtp.py
#define MAX_MISORDER 100
#define MAX_STEP 2000000000ull  // ns: a longer step is a silence or a wrap, not jitter
#define TICK_SHIFT 10
#define RATES 4
#define DEFAULT_TICK ((1000000000u / 8000) << TICK_SHIFT)
#define NEW_TTL 64

struct rtp {
  __u8 flags, kind;
  __be16 sequence;
  __be32 stamp, ssrc;
};

struct key {
  __be32 address[4];  // IPv4 as ::ffff:a.b.c.d
  __be16 port;
  __u16 zero;
};

struct flow {
  // Written when it is pinned.
  __be32 source[4], sender[4], destination[4], hop[4];
  __be16 source_port, sender_port, destination_port;
  __u8 tos;
  __u8 family;    // 4 or 6
  __u32 ifindex;  // where the destination is
  __u32 limit;    // bytes of the longest IP packet that fits there
  __u8 kinds[RATES];   // payload types whose clock is not 8000 Hz; 255: none
  __u32 hop_family;    // AF_INET or AF_INET6: that of the machine that the packet is given to
  __u32 ticks[RATES];  // ns << TICK_SHIFT
  // Counted here.
  __u64 packets, bytes, punted;
  __u64 sampled;  // ns: when the last packet that the jitter is taken from came
  __u64 jitter;   // ns * 16
  __be32 ssrc;
  __u32 stamp;
  __s32 lost;
  __u16 expected;
  __u8 kind;
  __u8 started;
  __u32 tick;
  __u32 zero;
};

// The maps: the loader puts their descriptors where these are referred to.
char flows SECTION("maps");
char lease SECTION("maps");  // one number, ns: nothing is forwarded any more when nobody renews it

// One packet of the stream: losses by sequence numbers, jitter by timestamps (RFC 3550 A.3, A.8).
INLINE void note(struct flow *f, const struct rtp *packet, __u64 now) {
  __u16 sequence = ORDER16(packet->sequence);
  __u32 stamp = ORDER32(packet->stamp);
  if (!f->started || f->ssrc != packet->ssrc) {
    f->ssrc = packet->ssrc;
    f->started = 1;
    f->kind = 0xff;
  } else {
    __u16 gap = sequence - f->expected;
    if (gap < MAX_DROPOUT) {
      f->lost += gap;
    } else if (gap >= 0x10000 - MAX_MISORDER) {
      if (f->lost > 0)
        f->lost--;
      return;
    }
  }
  f->expected = sequence + 1;
  if (packet->kind == f->kind) {
    __s64 step = (__s64)(now - f->sampled) - (((__s64)(__s32)(stamp - f->stamp) * f->tick) >> TICK_SHIFT);
    __u64 size = step < 0 ? -step : step;
    if (size < MAX_STEP)
      f->jitter += size - ((f->jitter + 8) >> 4);
  } else if (packet->kind < 0x80) {
    f->kind = packet->kind;
    f->tick = DEFAULT_TICK;
#pragma unroll
    for (int i = 0; i < RATES; i++)
      if (f->kinds[i] == packet->kind)
        f->tick = f->ticks[i];
  } else {
    return;
  }
  f->sampled = now;
  f->stamp = stamp;
}

// Whether a packet of the flow's source may be forwarded: RTP and not RTCP, of a size that fits, and somebody looks after
// the flow. `size`: bytes of the IP packet, `length`: of the UDP datagram with its header.
INLINE bool take(struct flow *f, const struct rtp *packet, __u32 size, __u32 length, __u8 ttl) {
  __u32 zero = 0;
  __u64 now = monotonic(), *until;
  if ((packet->flags & 0xc0) != 0x80 || ((packet->kind & 0x60) == 0x40))  // payload types 64 to 95: RFC 5761
    goto punt;
  until = map_lookup(&lease, &zero);
  if (!until || now > *until)
    goto punt;
  note(f, packet, now);
  if (ttl <= 1 || size > f->limit)
    goto punt;
  __sync_fetch_and_add(&f->packets, 1);
  __sync_fetch_and_add(&f->bytes, length - sizeof(struct udphdr));
  return true;
punt:
  __sync_fetch_and_add(&f->punted, 1);
  return false;
}

// Makes the first `size` bytes of the packet readable.
INLINE bool readable(struct __sk_buff *skb, __u32 size) {
  return (void *)(long)skb->data + size <= (void *)(long)skb->data_end ||
         (!pull(skb, size) && (void *)(long)skb->data + size <= (void *)(long)skb->data_end);
}

// By how much the sum of these words, eight at most, changes (RFC 1624).
INLINE __u32 difference(const __u32 *before, const __u32 *after, int words) {
  __u64 sum = 0;
#pragma unroll
  for (int i = 0; i < 8; i++)  // a constant: without CAP_PERFMON the kernel takes no loops over the stack
    if (i < words)
      sum += (__u64)~before[i] + after[i];
  sum = (sum & 0xffffffff) + (sum >> 32);
  return (sum & 0xffffffff) + (sum >> 32);
}

INLINE __u16 folded(__u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

INLINE void replace_sums(struct __sk_buff *skb, __u32 at, __u32 addresses, __u32 ports) {
  replace_l4(skb, at, 0, addresses, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
  replace_l4(skb, at, 0, ports, BPF_F_MARK_MANGLED_0);
}

INLINE int send(const struct flow *f) {
  struct bpf_redir_neigh hop = {.nh_family = f->hop_family};
  __builtin_memcpy(hop.ipv6_nh, f->hop, sizeof(hop.ipv6_nh));
  return send_neighbour(f->ifindex, &hop, sizeof(hop), 0);
}

#define AT_UDP4 (ETH_HLEN + sizeof(struct iphdr))
#define AT_UDP6 (ETH_HLEN + sizeof(struct ipv6hdr))
#define HEADS (sizeof(struct udphdr) + sizeof(struct rtp))

INLINE int relay4(struct __sk_buff *skb) {
  void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
  struct iphdr *ip = data + ETH_HLEN;
  if (data + AT_UDP4 > end || ip->protocol != IPPROTO_UDP || !readable(skb, AT_UDP4 + HEADS))
    return PASS;
  data = (void *)(long)skb->data, end = (void *)(long)skb->data_end;
  if (data + AT_UDP4 + HEADS > end)
    return PASS;
  ip = data + ETH_HLEN;
  struct udphdr *udp = data + AT_UDP4;
  if (ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP || (ip->frag_off & ORDER16(0x3fff)))
    return PASS;
  struct key key = {.address = {0, 0, ORDER32(0xffff), ip->daddr}, .port = udp->dest};
  struct flow *f = map_lookup(&flows, &key);
  if (!f || f->family != 4)
    return PASS;
  __u32 size = ORDER16(ip->tot_len), length = ORDER16(udp->len);
  if (ip->saddr != f->source[3] || udp->source != f->source_port || length < HEADS ||
      length + sizeof(struct iphdr) != size || size + ETH_HLEN > skb->len) {
    __sync_fetch_and_add(&f->punted, 1);
    return PASS;
  }
  if (!take(f, (void *)(udp + 1), size, length, ip->ttl))
    return PASS;

  __u32 *words = (void *)ip;  // the last one has the ports
  __u32 before[] = {words[0], words[2], words[3], words[4], words[5]};
  __u32 after[] = {(words[0] & ~0xff00u) | (__u32)f->tos << 8, (words[2] & ~0xffu) | NEW_TTL, f->sender[3],
                   f->destination[3], f->sender_port | (__u32)f->destination_port << 16};
  __u32 sum = difference(before, after, 4);
  __u16 check = ~folded((__u16)~ip->check + (sum & 0xffff) + (sum >> 16));
  __u32 head[] = {after[0], words[1], (after[1] & 0xffff) | (__u32)check << 16, after[2], after[3], after[4]};
  replace_sums(skb, AT_UDP4 + offsetof(struct udphdr, check), difference(before + 2, after + 2, 2),
               difference(before + 4, after + 4, 1));
  store(skb, ETH_HLEN, head, sizeof(head), 0);
  return send(f);
}

INLINE int relay6(struct __sk_buff *skb) {
  void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
  struct ipv6hdr *ip = data + ETH_HLEN;
  if (data + AT_UDP6 > end || ip->nexthdr != IPPROTO_UDP || !readable(skb, AT_UDP6 + HEADS))
    return PASS;
  data = (void *)(long)skb->data, end = (void *)(long)skb->data_end;
  if (data + AT_UDP6 + HEADS > end)
    return PASS;
  ip = data + ETH_HLEN;
  struct udphdr *udp = data + AT_UDP6;
  if (ip->version != 6 || ip->nexthdr != IPPROTO_UDP)
    return PASS;
  struct key key = {.port = udp->dest};
  __builtin_memcpy(key.address, &ip->daddr, 16);
  struct flow *f = map_lookup(&flows, &key);
  if (!f || f->family != 6)
    return PASS;
  __u32 *from = (void *)&ip->saddr, size = ORDER16(ip->payload_len), length = ORDER16(udp->len);
  if (from[0] != f->source[0] || from[1] != f->source[1] || from[2] != f->source[2] || from[3] != f->source[3] ||
      udp->source != f->source_port || !udp->check || length < HEADS || length != size ||
      size + AT_UDP6 > skb->len) {
    __sync_fetch_and_add(&f->punted, 1);
    return PASS;
  }
  if (!take(f, (void *)(udp + 1), size + sizeof(struct ipv6hdr), length, ip->hop_limit))
    return PASS;

  __u32 *words = (void *)ip, before[9], head[11];
  __builtin_memcpy(before, words + 2, sizeof(before));
  head[0] = (words[0] & ~ORDER32(TRAFFIC_CLASS)) | ORDER32((__u32)f->tos << 20);
  head[1] = (words[1] & ~ORDER32(0xff)) | ORDER32(NEW_TTL);
  __builtin_memcpy(head + 2, f->sender, 16);
  __builtin_memcpy(head + 6, f->destination, 16);
  head[10] = f->sender_port | (__u32)f->destination_port << 16;
  replace_sums(skb, AT_UDP6 + offsetof(struct udphdr, check), difference(before, head + 2, 8),
               difference(before + 8, head + 10, 1));
  store(skb, ETH_HLEN, head, sizeof(head), 0);
  return send(f);
}

SECTION("tc") int relay(struct __sk_buff *skb) {
  // Not ours to take: frames of a VLAN interface above this one, of other stations, merged datagrams.
  if (skb->vlan_present || skb->pkt_type || skb->gso_size)
    return PASS;
  if (skb->protocol == ORDER16(ETH_P_IP))
    return relay4(skb);
  if (skb->protocol == ORDER16(ETH_P_IPV6))
    return relay6(skb);
  return PASS;
}

char licence[] SECTION("license") = "Apache-2.0";
char built_from[] SECTION("source") = SOURCE;  // SHA-256 of this file: a test sees that the object was built from it
