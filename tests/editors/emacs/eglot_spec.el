;;; eglot_spec.el --- Codekin through Eglot, in batch  -*- lexical-binding: t; -*-

;; CODEKIN_EL is the plugin, CODEKIN_PROJECT a repository with retry.cpp, its duplicate http.cpp and new.cpp.

(require 'cl-lib)
(load (getenv "CODEKIN_EL") nil t)

(setq eglot-autoshutdown nil
      eglot-sync-connect t
      eglot-connect-timeout 60
      jsonrpc-default-request-timeout 60
      make-backup-files nil
      create-lockfiles nil)

(defun spec-file (name)
  (expand-file-name name (getenv "CODEKIN_PROJECT")))

(defun spec-wait (what condition)
  "Wait until CONDITION gives something; WHAT names it in the failure."
  (let ((end (+ (float-time) 150)) found)
    (while (not (setq found (funcall condition)))
      (when (> (float-time) end)
        (error "Waited in vain for %s; the status is %S" what codekin-status))
      (accept-process-output nil 0.1))
    found))

(defun spec-names (answer)
  (mapcar (lambda (hit) (plist-get hit :name)) (plist-get answer :hits)))

(defmacro spec-assert (form)
  `(unless ,form (error "Does not hold: %S" ',form)))

(with-current-buffer (find-file-noselect (spec-file "retry.cpp"))
  (apply #'eglot--connect (eglot--guess-contact))
  (spec-wait "the index" (lambda () (equal codekin-status "Codekin is ready.")))

  ;; The cursor behind an emoji and Chinese characters.
  (goto-char (point-min))
  (search-forward "汉字 🙂")
  (let* ((answer (codekin--ask :codekin/similar (codekin--here)))
         (hit (seq-find (lambda (hit) (equal (plist-get hit :path) "http.cpp")) (plist-get answer :hits))))
    (spec-assert hit)
    (spec-assert (equal (plist-get (plist-get answer :query) :name) "with_backoff"))
    (spec-assert (equal (eglot--uri-to-path (plist-get hit :uri)) (spec-file "http.cpp"))))

  ;; The list to visit.
  (let (shown)
    (cl-letf (((symbol-function 'xref-show-xrefs) (lambda (fetcher _) (setq shown (funcall fetcher)))))
      (codekin-similar)
      (spec-assert (seq-some (lambda (place) (string-match-p "again" (xref-item-summary place))) shown))
      (setq shown nil)
      (codekin-search "retry with backoff")
      (spec-assert shown)))

  (spec-assert (append (codekin--ask :workspace/symbol '(:query "retry with backoff")) nil)))

;; Code that is not saved, typed behind an emoji.
(let ((text (with-temp-buffer (insert-file-contents (spec-file "retry.cpp")) (buffer-string))))
  (with-current-buffer (find-file-noselect (spec-file "new.cpp"))
    (spec-wait "the second file" (lambda () (eglot-current-server)))
    (goto-char (point-max))
    (insert "// 🙂🙂\n" (replace-regexp-in-string "with_backoff" "typed_just_now" text))
    (goto-char (point-min))
    (search-forward "typed_just_now")
    (let ((answer (codekin--ask :codekin/similar (codekin--here))))
      (spec-assert (equal (plist-get (plist-get answer :query) :name) "typed_just_now"))
      (spec-assert (seq-contains-p (spec-names answer) "again")))
    (let ((server (eglot-current-server)))
      (set-buffer-modified-p nil)
      (eglot-shutdown server nil 30)
      (spec-assert (not (jsonrpc-running-p server))))))

(princ "eglot: all holds\n")

;;; eglot_spec.el ends here
