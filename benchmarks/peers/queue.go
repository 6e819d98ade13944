// SPDX-License-Identifier: BSL-1.0

// The measurements of sync.cpp in Go: channels and a mutex. Prints nanoseconds per item, the median of 7.
package main

import (
	"fmt"
	"runtime"
	"sort"
	"sync"
	"time"
)

func median(items int, run func(items int)) float64 {
	var results []float64
	for i := 0; i < 7; i++ {
		begin := time.Now()
		run(items)
		results = append(results, float64(time.Since(begin).Nanoseconds())/float64(items))
	}
	sort.Float64s(results)
	return results[len(results)/2]
}

func messages(capacity int) func(int) {
	return func(items int) {
		channel := make(chan int, capacity)
		done := make(chan bool)
		go func() {
			for range channel {
			}
			done <- true
		}()
		for i := 0; i < items; i++ {
			channel <- i
		}
		close(channel)
		<-done
	}
}

func handover(tasks int) func(int) {
	return func(items int) {
		var mutex sync.Mutex
		var all sync.WaitGroup
		for t := 0; t < tasks; t++ {
			all.Add(1)
			go func() {
				for i := 0; i < items/tasks; i++ {
					mutex.Lock()
					runtime.Gosched()
					mutex.Unlock()
					runtime.Gosched()
				}
				all.Done()
			}()
		}
		all.Wait()
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	var mutex sync.Mutex
	fmt.Printf("mutex, uncontended: lock and unlock: %.1f\n", median(1000000, func(items int) {
		for i := 0; i < items; i++ {
			mutex.Lock()
			mutex.Unlock()
		}
	}))
	fmt.Printf("mutex handed off between 2 tasks, two yields each: %.1f\n", median(200000, handover(2)))
	fmt.Printf("mutex handed off among 10 tasks, two yields each: %.1f\n", median(200000, handover(10)))
	fmt.Printf("queue of 1, per message: %.1f\n", median(200000, messages(1)))
	fmt.Printf("queue of 128, per message: %.1f\n", median(1000000, messages(128)))
	runtime.GOMAXPROCS(2)
	fmt.Printf("queue of 1 between two threads, per message: %.1f\n", median(100000, messages(1)))
	fmt.Printf("queue of 128 between two threads, per message: %.1f\n", median(500000, messages(128)))
}
