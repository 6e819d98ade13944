// SPDX-License-Identifier: BSL-1.0

// go run echo.go PORT [SECONDS]: an echo server in Go, with GOMAXPROCS=1. SECONDS limits each read.

package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

func echo(connection net.Conn, limit time.Duration) {
	defer connection.Close()
	buffer := make([]byte, 1024)
	for {
		if limit > 0 {
			connection.SetReadDeadline(time.Now().Add(limit))
		}
		size, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:size]); err != nil {
			return
		}
	}
}

func main() {
	port, limit := "0", 0
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	if len(os.Args) > 2 {
		limit, _ = strconv.Atoi(os.Args[2])
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go echo(connection, time.Duration(limit)*time.Second)
	}
}
