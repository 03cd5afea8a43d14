/* Threads of our own, for a process that has no OpenMP (Apple clang) or whose OpenMP threads sleep where ours must not. */
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#ifdef __x86_64__
#include <immintrin.h>
#define PAUSE _mm_pause()
#else
#define PAUSE atomic_signal_fence(memory_order_seq_cst)
#endif

enum { BARRIER_SPINS = 2000, IDLE_SPINS = 20000, MAX_THREADS = 256 };

/* Where the threads of a pass wait for one another, some 240 times a token: spinning costs less than a wake-up. */
typedef struct { _Atomic int arrived, turn; } Barrier;

static void barrier_wait(Barrier *barrier, int threads) {
    const int turn = atomic_load(&barrier->turn);
    if (atomic_fetch_add(&barrier->arrived, 1) == threads - 1) {
        atomic_store(&barrier->arrived, 0);
        atomic_store(&barrier->turn, turn + 1);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&barrier->turn, memory_order_acquire) == turn;)
        if (spins < BARRIER_SPINS) spins++, PAUSE;
        else sched_yield();
}

typedef void Work(void *data, int me, int threads);

/* Workers of this process. They spin a little after each job, as the next token is about to come, and sleep after that. */
static struct {
    pthread_mutex_t jobs, lock; /* held for a whole job; held to sleep and to wake */
    pthread_cond_t ready;
    _Atomic int turn, busy; /* number of the job; workers that are not done with it */
    int workers, threads;   /* workers that live; threads of the job, the caller among them */
    Work *work;
    void *data;
} pool = {.jobs = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .ready = PTHREAD_COND_INITIALIZER};

typedef struct { int me, turn; } Hire;
static Hire hires[MAX_THREADS];

static int next_turn(int seen) {
    for (int spins = 0; spins < IDLE_SPINS; spins++, PAUSE)
        if (atomic_load_explicit(&pool.turn, memory_order_acquire) != seen) return atomic_load(&pool.turn);
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.turn) == seen) pthread_cond_wait(&pool.ready, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    return atomic_load(&pool.turn);
}

static void *serve(void *hire) {
    const int me = ((Hire *)hire)->me;
    for (int turn = ((Hire *)hire)->turn;;) {
        turn = next_turn(turn);
        if (me < pool.threads) pool.work(pool.data, me, pool.threads);
        atomic_fetch_sub(&pool.busy, 1);
    }
    return 0;
}

/* After a fork the child has none of the threads, and whatever they held is free. */
static void forget_workers(void) {
    pool.workers = 0;
    pthread_mutex_init(&pool.jobs, 0);
    pthread_mutex_init(&pool.lock, 0);
    pthread_cond_init(&pool.ready, 0);
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(0, 0, forget_workers); }

static void hire_workers(int threads) {
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    while (pool.workers < threads - 1) {
        hires[pool.workers] = (Hire){pool.workers + 1, atomic_load(&pool.turn)};
        pthread_t thread;
        if (pthread_create(&thread, &detached, serve, &hires[pool.workers])) break;
        pool.workers++;
    }
    pthread_attr_destroy(&detached);
}

/* work(data, me, threads) on up to `threads` threads, the caller being number 0; returns when all are done. */
static void run_threads(Work *work, void *data, int threads) {
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads <= 1) {
        work(data, 0, 1);
        return;
    }
    pthread_mutex_lock(&pool.jobs);
    hire_workers(threads);
    if (threads > pool.workers + 1) threads = pool.workers + 1;
    pool.work = work, pool.data = data, pool.threads = threads;
    atomic_store(&pool.busy, pool.workers);
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.turn, 1);
    pthread_cond_broadcast(&pool.ready);
    pthread_mutex_unlock(&pool.lock);
    work(data, 0, threads);
    for (int spins = 0; atomic_load_explicit(&pool.busy, memory_order_acquire) > 0;)
        if (spins < BARRIER_SPINS) spins++, PAUSE;
        else sched_yield();
    pthread_mutex_unlock(&pool.jobs);
}
