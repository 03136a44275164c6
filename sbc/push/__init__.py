"""Mobile and browser push: tokens in, wake-ups out.

In: a REGISTER (`dialects` reads the app's token from it) and an order to wake a device (`service.PushService.send`).
Out: one request to Apple, Google or a Web Push service, classified into one `orders.PushResult`, and notes for whoever
keeps the tokens (`ports.Recorder`).

Read first: `orders` (the words), `dialects` (how apps hand over a token), `service` (what the rest of the product
calls), `sender` (one push from order to result). What a provider is told and means: `apns`, `fcm`, `webpush` over
`templates` and `wording`. Pure besides these: `tokens`, `contact`, `decide`, `settings`, `keys`, `jose`, `breaker`,
`waiting`, `wire`, `literals`, `limits`, `recent`, `expiry`. At the edge: `http2`, `http1`, `origins` (connections),
`connect` (TLS, forbidden addresses), `bearers`, `credentials` and `stock` (files), `providers`. This room knows neither
calls nor registrations nor the database.
"""
