// SPDX-License-Identifier: BSL-1.0

// 12. A worker pool
//
// Three workers share a queue, and end when the work is done. A bounded queue slows the producer down to the speed of
// the workers (back-pressure). shutdown() lets the workers take the jobs that are left, and then ends their loops.
// join() waits until every job is not only taken but done.
//
//   samples/run worker_pool
//
// You will see six jobs of two seconds each done by three workers, in four seconds.

#include <fibers/fibers.hpp>
#include <iostream>
using namespace std::chrono_literals;

int main() {
  fibers::run([] {
    fibers::queue<int> jobs(2);
    auto const begin = fibers::clock::now();
    auto const seconds = [begin] {
      return std::chrono::duration_cast<std::chrono::seconds>(fibers::clock::now() - begin).count();
    };

    fibers::with_task_group([&](fibers::task_group& pool) {
      for (int worker = 1; worker <= 3; ++worker) {
        pool.spawn([&, worker] {
          for (auto const job : jobs) {
            fibers::sleep_for(2s);
            std::cout << "worker " << worker << ": job " << job << " done after " << seconds() << " s\n";
            jobs.task_done();
          }
          std::cout << "worker " << worker << " goes home\n";
        });
      }

      for (int job = 1; job <= 6; ++job) jobs.put(job);  // waits while the queue holds two jobs
      std::cout << "all jobs handed out after " << seconds() << " s\n";
      jobs.shutdown();
      jobs.join();
      std::cout << "all jobs done after " << seconds() << " s\n";
    });
  });
}
