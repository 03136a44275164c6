"""Mobile and browser push: tokens in, wake-ups out.

In: a REGISTER (``dialects`` reads the app's token from it) and an order to wake a device
(``service.PushService.send``). Out: one request to Apple, Google or a Web Push service, classified into one
``orders.PushResult``, and notes for whoever keeps the tokens (``service.Recorder``).

Read first: ``orders`` (the words), ``dialects`` (how apps hand over a token), ``service`` (what the rest of the product
calls). Pure: ``tokens``, ``dialects``, ``decide``, ``orders``, ``templates``, ``apns``, ``fcm``, ``webpush``,
``breaker``, ``waiting``, ``credentials``, ``settings``. At the edge: ``http2``, ``origins`` (connections), ``oauth``,
``sender``, ``service``. This room knows neither calls nor registrations nor the database.
"""
