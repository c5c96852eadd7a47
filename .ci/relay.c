/*
 * For a machine that ends every process after a second or so of processor time (a hard RLIMIT_CPU
 * on its first process, which nobody there may raise). Preloaded, it lets long work be done in
 * many short processes: shortly before its time is up, a process that has one thread and no
 * children forks, the child goes on where it was, and the parent waits and ends as the child does.
 * Every process keeps to the limit. Does nothing where there is no such limit.
 *
 * Locks of the dynamic linker, OpenSSL and SQLite remember the number of the thread that holds
 * them, which is another one after a fork. So Python forks between two of its instructions, where
 * none of them is held; only code that does not come back to it in time is forked where it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AGAIN_MS = 30 };

static int (*call_between)(int (*)(void *), void *); /* Python's own, where there is one */
static int (*is_running)(void);
static volatile sig_atomic_t is_asked;

static long lead_ms; /* processor time that a process uses before it forks */
static volatile sig_atomic_t is_due;

/* A POSIX timer, since neither fork nor exec keeps it: what is started later is left alone. */
static void arm(long milliseconds) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF};
    struct itimerspec when = {.it_value = {milliseconds / 1000, milliseconds % 1000 * 1000000}};
    static int timer;
    static pid_t owner;
    if (owner != getpid()) {
        if (syscall(SYS_timer_create, CLOCK_PROCESS_CPUTIME_ID, &event, &timer)) return;
        owner = getpid();
    }
    syscall(SYS_timer_settime, timer, 0, &when, NULL);
}

/* Whether this process has one thread and no children: all that a fork takes along. */
static int is_alone(void) {
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (size <= 0) return 0;
    text[size] = 0;
    char *field = strrchr(text, ')');
    for (int number = 2; field && number < 20; number++) field = strchr(field + 1, ' ');
    if (!field || strncmp(field, " 1 ", 3) != 0) return 0; /* num_threads */
    fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    size = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0) close(fd);
    return size == 0;
}

static pid_t successor;

static void pass_on(int signal_number) {
    kill(successor, signal_number);
}

/* Fork, if nothing is in the way, and go on in the child. */
static void hand_on(void) {
    int kept = errno;
    struct itimerval alarm;
    is_due = !is_alone();
    if (is_due) {
        arm(AGAIN_MS);
        errno = kept;
        return;
    }
    getitimer(ITIMER_REAL, &alarm);
    pid_t child = _Fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setitimer(ITIMER_REAL, &alarm, NULL);
        arm(lead_ms);
    } else if (child < 0) {
        arm(AGAIN_MS);
    } else {
        int status;
        struct itimerval none = {0};
        setitimer(ITIMER_REAL, &none, NULL);
        successor = child;
        for (int number = 1; number < 32; number++) signal(number, pass_on);
        signal(SIGCHLD, SIG_DFL);
        close_range(0, ~0U, 0);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
        if (WIFSIGNALED(status)) {
            struct rlimit no_core = {0, 0};
            setrlimit(RLIMIT_CORE, &no_core);
            signal(WTERMSIG(status), SIG_DFL);
            kill(getpid(), WTERMSIG(status));
        }
        _exit(WEXITSTATUS(status));
    }
    errno = kept;
}

static int between(void *unused) {
    (void)unused;
    if (is_asked) {
        is_asked = 0;
        hand_on();
    }
    return 0;
}

static void time_is_up(int signal_number) {
    int kept = errno;
    (void)signal_number;
    is_due = 1;
    /* Not once Python has begun to end: what the call would be kept in may be gone. */
    if (call_between && !is_asked && is_running && is_running() && call_between(between, NULL) == 0) {
        is_asked = 1;
        arm(lead_ms * 6 / 10);
        errno = kept;
        return;
    }
    is_asked = 0;
    hand_on();
}

static void start(void) {
    is_due = is_asked = 0;
    arm(lead_ms);
}

/* Who forks again and again is best caught just before, when the last child is gone. */
static void before_fork(void) {
    if (is_due) hand_on();
}

__attribute__((constructor)) static void prepare(void) {
    struct rlimit limit;
    struct sigaction action = {.sa_handler = time_is_up, .sa_flags = SA_RESTART};
    if (getrlimit(RLIMIT_CPU, &limit) || limit.rlim_max == RLIM_INFINITY) return;
    lead_ms = limit.rlim_max * 500;
    *(void **)&call_between = dlsym(RTLD_DEFAULT, "Py_AddPendingCall");
    *(void **)&is_running = dlsym(RTLD_DEFAULT, "Py_IsInitialized");
    sigaction(SIGPROF, &action, NULL);
    pthread_atfork(before_fork, NULL, start);
    start();
}
