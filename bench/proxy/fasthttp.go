package main

import "github.com/valyala/fasthttp"

// fasthttpProxy is the least that a reverse proxy on fasthttp can be: no names, no limits, no metrics, no strictness.
// It shows what the library itself costs.
func fasthttpProxy(listen, origin string) error {
	client := &fasthttp.HostClient{Addr: origin, MaxConns: 1024, NoDefaultUserAgentHeader: true, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true}
	server := &fasthttp.Server{
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		DisableHeaderNamesNormalizing: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.Request.Header.Del("Connection")
			ctx.Request.Header.Add("X-Forwarded-For", ctx.RemoteIP().String())
			if err := client.Do(&ctx.Request, &ctx.Response); err != nil {
				ctx.Error(err.Error(), fasthttp.StatusBadGateway)
			}
			ctx.Response.Header.Del("Connection")
		},
	}
	return server.ListenAndServe(listen)
}
