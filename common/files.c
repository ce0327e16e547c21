/* Small things with files and clocks. */
#include "common/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

enum { PATH_BYTES = 4096 };

Err sync_directory_of(const char *path) {
    char dir[PATH_BYTES];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_fail(ERR_IO, "cannot open the directory of %s: %m", path);
    int failed = fsync(fd);
    close(fd);
    return failed ? err_fail(ERR_IO, "cannot sync the directory of %s: %m", path) : OK;
}

Err make_directories(const char *path) {
    char part[PATH_BYTES];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return err_fail(ERR_IO, "\"%.40s\" is no path for a directory", path);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        int failed = mkdir(part, 0755);
        if (failed && errno != EEXIST)
            return err_fail(ERR_IO, "cannot make the directory %s: %m", part);
        Err err = failed ? OK : sync_directory_of(part);
        if (err)
            return err;
    }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return err_fail(ERR_IO, "%s is not a directory", path);
    return OK;
}

Err read_file(const char *path, size_t max_bytes, char **data, size_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return err_fail(ERR_IO, "cannot open %s: %m", path);
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_fail(ERR_IO, "%s is not a regular file", path);
    }
    if ((uint64_t)st.st_size > max_bytes) {
        close(fd);
        return err_fail(ERR_DATA, "%s has %lld bytes, at most %zu are expected", path, (long long)st.st_size, max_bytes);
    }
    char *buffer = must_alloc((size_t)st.st_size + 1);
    size_t used = 0;
    ssize_t n = 1;
    while (used < (size_t)st.st_size && n > 0) {
        n = read(fd, buffer + used, (size_t)st.st_size - used);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            used += (size_t)n;
    }
    close(fd);
    if (n < 0) {
        free(buffer);
        return err_fail(ERR_IO, "cannot read %s: %m", path);
    }
    buffer[used] = 0;
    *data = buffer;
    *size = used;
    return OK;
}

static Err write_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        data += n;
        size -= (size_t)n;
    }
    return OK;
}

Err write_file_durably(const char *path, const void *data, size_t size) {
    char temp[PATH_BYTES];
    if (snprintf(temp, sizeof temp, "%s.tmp", path) >= (int)sizeof temp)
        return err_fail(ERR_IO, "the path %s is too long", path);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_fail(ERR_IO, "cannot create %s: %m", temp);
    Err err = write_all(fd, data, size);
    if (err || fsync(fd))
        err = err_fail(ERR_IO, "cannot write %s: %m", temp);
    if (close(fd) && !err)
        err = err_fail(ERR_IO, "cannot close %s: %m", temp);
    if (!err && rename(temp, path))
        err = err_fail(ERR_IO, "cannot rename %s: %m", temp);
    if (err) {
        unlink(temp);
        return err;
    }
    return sync_directory_of(path);
}

uint64_t clock_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
