-- The same small request from everybody. It is made once, because wrk has to share the machine with the server.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"report":"monthly","account":1234567,"format":"pdf"}'
