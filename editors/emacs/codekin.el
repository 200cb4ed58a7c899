;;; codekin.el --- Similar code and search by meaning, through Eglot  -*- lexical-binding: t; -*-

;; Version: 0.1.0

;; Package-Requires: ((emacs "28.1") (eglot "1.9"))

;;; Commentary:

;; (require 'codekin), then M-x eglot in a file of C, C++, Elixir or Python.
;; M-x codekin-similar finds code like that at point or in the region, M-x codekin-search
;; code that does what some words say.  Completions come by `completion-at-point', symbols
;; by meaning through `xref-find-apropos', code actions by `eglot-code-actions'.

;;; Code:

(require 'cl-lib)
(require 'eglot)
(require 'xref)

(defgroup codekin nil
  "Similar code and search by meaning."
  :group 'tools)

(defcustom codekin-command '("codekin" "lsp")
  "How the server is started."
  :type '(repeat string))

(defcustom codekin-modes
  '(elixir-mode elixir-ts-mode heex-ts-mode c-mode c-ts-mode c++-mode c++-ts-mode python-mode python-ts-mode)
  "Modes that Eglot serves with Codekin."
  :type '(repeat symbol))

(defcustom codekin-limit 20
  "How many places are asked for."
  :type 'integer)

(defvar codekin-status nil
  "What the server last said of itself, as one sentence.")

;; The server sends `codekin/status' only to those that take it.
(add-to-list 'eglot-server-programs
             (cons codekin-modes (lambda (&rest _) (append codekin-command '(:initializationOptions (:status t))))))

(cl-defmethod eglot-handle-notification (_server (_method (eql codekin/status)) &key kind message &allow-other-keys)
  "Keep the sentence MESSAGE; tell it where its KIND is an error."
  (unless (equal message codekin-status)
    (setq codekin-status message)
    (when (equal kind "Error")
      (message "Codekin: %s" message))))

;;;###autoload
(defun codekin-similar ()
  "Show code like that at point, or like the region."
  (interactive)
  (codekin--show (codekin--ask :codekin/similar (append (codekin--here) (list :limit codekin-limit)))))

;;;###autoload
(defun codekin-search (words)
  "Show code that does what WORDS say."
  (interactive "sSearch by meaning: ")
  (let ((near (and buffer-file-name (list :near (eglot--path-to-uri buffer-file-name)))))
    (codekin--show (codekin--ask :codekin/search (append (list :text words :limit codekin-limit) near)))))

(defun codekin--ask (method params)
  "The server's answer to METHOD with PARAMS, for the text as it is on the screen."
  (let ((server (or (eglot-current-server) (user-error "Start M-x eglot first"))))
    (eglot--signal-textDocument/didChange)
    (jsonrpc-request server method params)))

(defun codekin--here ()
  "The document and the range of the region, or the position of point."
  (append
   (list :textDocument (list :uri (eglot--path-to-uri (or buffer-file-name (user-error "This buffer has no file")))))
   (if (use-region-p)
       (list :range (list :start (eglot--pos-to-lsp-position (region-beginning))
                          :end (eglot--pos-to-lsp-position (region-end))))
     (list :position (eglot--pos-to-lsp-position)))))

(defun codekin--show (answer)
  "Show the hits of ANSWER as a list to visit."
  (let ((found (mapcar #'codekin--xref (append (plist-get answer :hits) nil))))
    (if found
        (xref-show-xrefs (lambda () found) nil)
      (message "Codekin: nothing found."))))

(defun codekin--xref (hit)
  "HIT as a place of xref."
  (xref-make (format "%.2f %s" (plist-get hit :score) (plist-get hit :name))
             (xref-make-file-location (eglot--uri-to-path (plist-get hit :uri)) (plist-get hit :code_line) 0)))

(provide 'codekin)

;;; codekin.el ends here
