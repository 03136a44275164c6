"""Makes `twistd sbc` known to Twisted."""

from twisted.application.service import ServiceMaker

sbc = ServiceMaker("SBC", "sbc.service", "A push-capable Session Border Controller", "sbc")
